/*
 * heaptally top PID: a live view of a process's controllers on the terminal, and of one
 * controller's call sites.
 *
 *   controllers   what `status` answers, once a second, with a line of bars per controller: its
 *                 live bytes at the last refreshes
 *   sites         read from the process's snapshot file, which is at most a tick behind; names come
 *                 from files on this machine only, since a server may let one wait
 *
 * The terminal is put back however the view ends: a key, a signal, or the end of the process, whose
 * last figures stay on the screen until a key is pressed.
 */
#define NCURSES_WIDECHAR 1
#include <errno.h>
#include <math.h>
#include <ncurses.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "control_client.h"
#include "frame_text.h"
#include "heaptally/units.h"
#include "live.h"
#include "live_past.h"
#include "symbolize.h"
#include "text.h"

enum { FAILURE = 2, HEAD_LINES = 5, FOOT_LINES = 2, NAME_LEAST = 12, NAME_MOST = 28, KEY_ESC = 27 };
enum { PATIENCE_MS = 1500, READ_EVERY_MS = 5000, MOST_SITES = 200 };

/* What controllers can be sorted by: key, name, and how two are compared. */
#define ORDERS(X)                                                                                  \
    X(URGENCY, 'v', "verdict")                                                                     \
    X(LIVE, 'l', "live bytes")                                                                     \
    X(BLOCKS, 'b', "blocks")                                                                       \
    X(RATE, 'r', "rate")                                                                           \
    X(PER_1000, 'm', "MB/1000")                                                                    \
    X(NAME, 'n', "name")
#define ORDER_ENUM(id, key, name) ORDER_##id,
enum order { ORDERS(ORDER_ENUM) ORDER_COUNT };
#define ORDER_ROW(id, key, name) {key, name},
static const struct {
    int key;
    const char *name;
} orders[ORDER_COUNT] = {ORDERS(ORDER_ROW)};

/* The sites of the controller that is open. */
struct sites {
    char *tag;   /* NULL: none is open */
    char *error; /* why there are no sites to show */
    struct site_line {
        char *where;
        uint64_t live_bytes, live_blocks, allocated_bytes;
    } * lines;
    size_t count;
    uint64_t read_ms;
};

struct view {
    struct ht_client client;
    struct ht_live *live; /* never NULL once the view is open */
    struct ht_live_past *past;
    struct sites sites;
    enum order order;
    size_t selected, scrolled; /* of the list that is shown */
    char selected_tag[256];    /* stays selected while the order changes */
    uint64_t interval_ms, next_ms;
    char *trouble; /* why figures are old, or NULL */
    bool over;     /* the process is gone */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- controllers -------------------------------------------------------------------------------
 */

static enum order sorting; /* qsort has no context */

/* Unknown goes last. */
static int falling(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return a < b ? 1 : a > b ? -1 : 0;
}

static int compare_tags(const void *a, const void *b)
{
    const struct ht_live_tag *x = a, *y = b;
    int result = 0;
    if (sorting == ORDER_URGENCY)
        result = ht_live_rank(y->verdict) - ht_live_rank(x->verdict);
    else if (sorting == ORDER_BLOCKS)
        result = falling(x->live_blocks, y->live_blocks);
    else if (sorting == ORDER_RATE)
        result = falling(x->mb_per_hour, y->mb_per_hour);
    else if (sorting == ORDER_PER_1000)
        result = falling(x->mb_per_1000, y->mb_per_1000);
    if (result == 0 && sorting != ORDER_NAME)
        result = falling(x->live_bytes, y->live_bytes);
    return result ? result : strcmp(x->name, y->name);
}

/* Sorts, and keeps the same controller selected. */
static void sort_tags(struct view *view)
{
    sorting = view->order;
    qsort(view->live->tags, view->live->tag_count, sizeof *view->live->tags, compare_tags);
    if (view->sites.tag)
        return;
    for (size_t i = 0; view->selected_tag[0] && i < view->live->tag_count; i++)
        if (strcmp(view->live->tags[i].name, view->selected_tag) == 0)
            view->selected = i;
}

static void refresh_figures(struct view *view)
{
    char *error = NULL;
    struct ht_live *live = view->over ? NULL : ht_live_ask(&view->client, &error);
    view->next_ms = now_ms() + view->interval_ms;
    if (view->over)
        return;
    free(view->trouble);
    view->trouble = live ? NULL : error;
    if (!live) {
        view->over = kill(view->client.pid, 0) != 0 && errno == ESRCH;
        return;
    }
    ht_live_free(view->live);
    view->live = live;
    ht_live_past_add(&view->past, live);
    sort_tags(view);
}

/* ---- sites -------------------------------------------------------------------------------------
 */

static void close_sites(struct sites *sites)
{
    for (size_t i = 0; i < sites->count; i++)
        free(sites->lines[i].where);
    free(sites->lines);
    free(sites->error);
    free(sites->tag);
    memset(sites, 0, sizeof *sites);
}

static const struct ht_tag *tag_named(const struct ht_profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->tag_count; i++)
        if (strcmp(profile->tags[i]->name, name) == 0)
            return profile->tags[i];
    return NULL;
}

static void take_sites(struct sites *sites, const struct ht_profile *profile)
{
    const struct ht_tag *tag = tag_named(profile, sites->tag);
    struct ht_symbolizer *symbolizer = ht_symbolizer_new(NULL);
    size_t count = !tag ? 0 : tag->site_count < MOST_SITES ? tag->site_count : MOST_SITES;
    sites->lines = ht_allocate_zeroed(count + 1, sizeof *sites->lines);
    for (size_t i = 0; i < count; i++) {
        const struct ht_site *site = tag->sites[i];
        sites->lines[sites->count++] = (struct site_line){
            .where = ht_blamed_text(symbolizer, site->stack),
            .live_bytes = site->live_bytes,
            .live_blocks = site->live_blocks,
            .allocated_bytes = site->figures.allocated_bytes,
        };
    }
    ht_symbolizer_free(symbolizer);
}

/* Reads the sites of the controller `name` anew. */
static void read_sites(struct view *view, const char *name)
{
    char *tag = ht_format("%s", name);
    close_sites(&view->sites);
    view->sites.tag = tag;
    view->sites.read_ms = now_ms();
    if (!view->live->snapshot[0]) {
        view->sites.error = ht_format("the process writes no snapshot file");
        return;
    }
    struct ht_profile *profile = ht_profile_load(view->live->snapshot, &view->sites.error);
    clearok(curscr, TRUE); /* reading may have said how far it is */
    if (!profile)
        return;
    take_sites(&view->sites, profile);
    ht_profile_free(profile);
}

/* ---- drawing -----------------------------------------------------------------------------------
 */

/* A row of text, cut at the width of the screen. */
static void draw_row(int row, int attributes, char *text)
{
    char *shown = ht_elide(text, (size_t)(COLS > 0 ? COLS : 1));
    move(row, 0);
    clrtoeol();
    attrset(attributes);
    addstr(shown);
    attrset(A_NORMAL);
    free(shown);
    free(text);
}

/* The text in a field of `width` columns, a new string. */
static char *padded(const char *text, size_t width)
{
    char *shown = ht_elide(text, width);
    char *field = ht_format("%s%*s", shown, (int)(width - ht_columns(shown)), "");
    free(shown);
    return field;
}

static const char *count_text(double count)
{
    return isnan(count) ? "-" : ht_grouped((uint64_t)count);
}

static const char *real_text(double number, int places)
{
    return isnan(number) ? "-" : ht_grouped_real(number, places);
}

static void draw_head(const struct view *view)
{
    const struct ht_live *live = view->live;
    draw_row(0, A_BOLD,
             ht_format("heaptally top: %s, pid %d on %s, watched for %s, %s", live->exe,
                       (int)live->pid, live->host, ht_duration(live->duration_s), live->state));
    draw_row(1, A_NORMAL,
             ht_format("resident %s MB (%s since the baseline, threshold %s), live %s MB in %s "
                       "blocks, own %s MB",
                       real_text(live->rss_mb, 1), real_text(live->memory.growth_mb, 1),
                       real_text(live->memory.threshold_mb, 0),
                       real_text(live->live_bytes / (double)HT_MB, 1),
                       count_text(live->live_blocks),
                       real_text(live->own_bytes / (double)HT_MB, 1)));
    draw_row(2, A_NORMAL, ht_format("%s: %s", live->memory.verdict, live->memory.reason));
    draw_row(3, A_NORMAL, ht_format("%s", ""));
}

static void draw_foot(const struct view *view)
{
    const struct ht_live *live = view->live;
    char *news = ht_format("%s", "");
    if (view->over || view->trouble) {
        free(news);
        news = view->over ? ht_format("the process has ended; these are its last figures")
                          : ht_format("the process %s", view->trouble);
    } else if (live->alert_count) {
        const struct ht_live_alert *alert = &live->alerts[live->alert_count - 1];
        free(news);
        news = ht_format("last alert: %s %s %s%s%s: %s", alert->severity, alert->state, alert->kind,
                         alert->tag[0] ? " " : "", alert->tag, alert->message);
    }
    draw_row(LINES - 2, A_BOLD, news);
    draw_row(LINES - 1, A_NORMAL,
             view->sites.tag
                 ? ht_format("%s", "Esc back  q quit")
                 : ht_format("sorted by %s: v verdict l live b blocks r rate m MB/1000 n name; "
                             "Enter sites  q quit",
                             orders[view->order].name));
}

static int attributes_of(const char *verdict)
{
    if (strcmp(verdict, "leak") == 0)
        return has_colors() ? A_BOLD | COLOR_PAIR(1) : A_BOLD;
    return A_NORMAL;
}

static size_t name_width(const struct ht_live *live)
{
    size_t width = NAME_LEAST;
    for (size_t i = 0; i < live->tag_count; i++) {
        size_t columns = ht_columns(live->tags[i].name);
        width = columns > width ? columns : width;
    }
    return width < NAME_MOST ? width : NAME_MOST;
}

static void draw_tag(const struct view *view, size_t index, int row, size_t width)
{
    const struct ht_live_tag *tag = &view->live->tags[index];
    char *name = padded(tag->name, width);
    char *line = ht_format("%s %15s %10s %9s %8s %9s %-12s ", name, count_text(tag->live_bytes),
                           count_text(tag->live_blocks), count_text(tag->instantiations),
                           real_text(tag->mb_per_1000, 2), ht_mb(tag->mb_per_hour), tag->verdict);
    size_t used = ht_columns(line), bars = (size_t)COLS > used ? (size_t)COLS - used : 0;
    char *past =
        ht_live_past_bars(view->past, tag->name, bars < HT_PAST_BARS ? bars : HT_PAST_BARS);
    int attributes = attributes_of(tag->verdict) | (index == view->selected ? A_REVERSE : 0);
    draw_row(row, attributes, ht_format("%s%s", line, past));
    free(past);
    free(line);
    free(name);
}

static void draw_site(const struct view *view, size_t index, int row)
{
    const struct site_line *line = &view->sites.lines[index];
    draw_row(row, index == view->selected ? A_REVERSE : A_NORMAL,
             ht_format("%15s %10s %15s  %s", ht_grouped(line->live_bytes),
                       ht_grouped(line->live_blocks), ht_grouped(line->allocated_bytes),
                       line->where));
}

static size_t list_length(const struct view *view)
{
    return view->sites.tag ? view->sites.count : view->live->tag_count;
}

/* Keeps the selection within the list, and in sight. */
static size_t settle_selection(struct view *view)
{
    size_t count = list_length(view);
    size_t room = LINES > HEAD_LINES + FOOT_LINES ? (size_t)(LINES - HEAD_LINES - FOOT_LINES) : 1;
    if (view->selected >= count)
        view->selected = count ? count - 1 : 0;
    if (view->scrolled > view->selected)
        view->scrolled = view->selected;
    if (view->selected >= view->scrolled + room)
        view->scrolled = view->selected - room + 1;
    return room;
}

static void draw(struct view *view)
{
    size_t room = settle_selection(view), width = name_width(view->live);
    erase();
    draw_head(view);
    if (view->sites.tag) {
        draw_row(3, A_BOLD, ht_format("sites of %s", view->sites.tag));
        draw_row(4, A_UNDERLINE,
                 ht_format("%15s %10s %15s  %s", "LIVE BYTES", "BLOCKS", "ALLOCATED", "CALL SITE"));
        if (view->sites.error)
            draw_row(HEAD_LINES, A_NORMAL, ht_format("%s", view->sites.error));
    } else {
        char *name = padded("CONTROLLER", width);
        draw_row(4, A_UNDERLINE,
                 ht_format("%s %15s %10s %9s %8s %9s %-12s %s", name, "LIVE BYTES", "BLOCKS",
                           "MADE", "MB/1000", "MB/HOUR", "VERDICT", "LIVE BYTES OVER TIME"));
        free(name);
    }
    for (size_t i = 0; i < room && view->scrolled + i < list_length(view); i++) {
        if (view->sites.tag)
            draw_site(view, view->scrolled + i, HEAD_LINES + (int)i);
        else
            draw_tag(view, view->scrolled + i, HEAD_LINES + (int)i, width);
    }
    draw_foot(view);
    refresh();
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void select_at(struct view *view, size_t index)
{
    view->selected = index;
    if (!view->sites.tag && index < view->live->tag_count)
        snprintf(view->selected_tag, sizeof view->selected_tag, "%s", view->live->tags[index].name);
}

static void move_selection(struct view *view, long by)
{
    size_t count = list_length(view);
    long index = (long)view->selected + by;
    if (count)
        select_at(view, index < 0 ? 0 : index >= (long)count ? count - 1 : (size_t)index);
}

static void open_selected(struct view *view)
{
    if (view->sites.tag || view->selected >= view->live->tag_count)
        return;
    select_at(view, view->selected);
    read_sites(view, view->selected_tag);
    view->selected = view->scrolled = 0;
}

static void go_back(struct view *view)
{
    close_sites(&view->sites);
    view->scrolled = 0;
    sort_tags(view);
}

static void sort_by(struct view *view, int key)
{
    for (int i = 0; i < ORDER_COUNT; i++) {
        if (key != orders[i].key)
            continue;
        view->order = (enum order)i;
        sort_tags(view);
    }
}

/* False where the key ends the view. */
static bool press(struct view *view, int key)
{
    int page = LINES > HEAD_LINES + FOOT_LINES ? LINES - HEAD_LINES - FOOT_LINES : 1;
    switch (key) {
    case 'q':
        return false;
    case KEY_UP:
    case 'k':
        move_selection(view, -1);
        break;
    case KEY_DOWN:
    case 'j':
        move_selection(view, 1);
        break;
    case KEY_PPAGE:
        move_selection(view, -page);
        break;
    case KEY_NPAGE:
        move_selection(view, page);
        break;
    case '\n':
    case '\r':
    case KEY_ENTER:
    case KEY_RIGHT:
        open_selected(view);
        break;
    case KEY_ESC:
    case KEY_LEFT:
    case KEY_BACKSPACE:
        if (view->sites.tag)
            go_back(view);
        break;
    default:
        if (!view->sites.tag)
            sort_by(view, key);
    }
    return true;
}

static void run(struct view *view)
{
    bool goes_on = true;
    while (goes_on && !interrupted) {
        uint64_t now = now_ms();
        if (now >= view->next_ms)
            refresh_figures(view);
        if (view->sites.tag && !view->over && now >= view->sites.read_ms + READ_EVERY_MS) {
            char *tag = ht_format("%s", view->sites.tag);
            read_sites(view, tag);
            free(tag);
        }
        draw(view);
        now = now_ms();
        timeout(view->next_ms > now ? (int)(view->next_ms - now) : 0);
        int key = getch();
        if (key != ERR)
            goes_on = press(view, key);
    }
}

/* ---- the command -------------------------------------------------------------------------------
 */

static const struct option options[] = {
    {"interval", required_argument, NULL, 'i'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

void ht_help_top(FILE *out)
{
    fputs("heaptally top [--interval TIME] PID\n\n"
          "Shows a running process's controllers on the terminal, refreshed every TIME (1s): live\n"
          "bytes, rate, verdict, and live bytes over time.\n\n"
          "  v l b r m n      sort by verdict, live bytes, blocks, rate, MB per 1000, name\n"
          "  arrows, j k      select a controller\n"
          "  Enter            its call sites; Esc goes back\n"
          "  q                quit\n",
          out);
}

static void open_screen(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    initscr();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    set_escdelay(50);
    curs_set(0);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(1, COLOR_RED, -1);
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
}

static bool take_options(int argc, char **argv, struct view *view, int *status)
{
    int option;
    opterr = 0;
    optind = 1;
    *status = FAILURE;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        uint64_t ns;
        if (option == 'h') {
            ht_help_top(stdout);
            *status = 0;
            return false;
        }
        if (option != 'i') {
            ht_complain_option("top", option, argc, argv, options);
            return false;
        }
        if (!ht_parse_duration(optarg, strlen(optarg), &ns) || ns < 50 * HT_MILLISECOND ||
            ns > HT_HOUR) {
            ht_complain("top --interval %s: is not a time between 50ms and 1h; write for example "
                        "2s",
                        optarg);
            return false;
        }
        view->interval_ms = ns / HT_MILLISECOND;
    }
    if (optind + 1 == argc)
        return ht_client_read_pid("top", argv[optind], &view->client.pid);
    ht_complain(optind == argc ? "top: no process is given; see 'heaptally list'"
                               : "top: shows one process; give one number");
    return false;
}

static void close_view(struct view *view)
{
    ht_client_close(&view->client);
    close_sites(&view->sites);
    ht_live_past_free(view->past);
    ht_live_free(view->live);
    free(view->trouble);
}

int ht_cmd_top(int argc, char **argv)
{
    struct view view = {.interval_ms = 1000, .order = ORDER_URGENCY};
    char *error = NULL;
    int status;
    if (!take_options(argc, argv, &view, &status))
        return status;
    pid_t pid = view.client.pid;
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
        ht_complain("top %d: needs a terminal; 'heaptally status %d' says it once", (int)pid,
                    (int)pid);
        return FAILURE;
    }
    if (ht_client_open(&view.client, pid, &error)) {
        view.client.patience_ms = PATIENCE_MS;
        view.live = ht_live_ask(&view.client, &error);
    }
    if (!view.live) {
        ht_complain("top %d: %s", (int)pid, error);
        free(error);
        ht_client_close(&view.client);
        return FAILURE;
    }
    unsetenv("DEBUGINFOD_URLS");
    ht_live_past_add(&view.past, view.live);
    sort_tags(&view);
    view.next_ms = now_ms() + view.interval_ms;
    open_screen();
    run(&view);
    endwin();
    close_view(&view);
    return 0;
}
