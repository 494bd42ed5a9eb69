/*
 * Random use of the heap by many threads, with a book of its own: prints, as JSON, how many bytes
 * and blocks each explicit tag holds at the end, which a test compares with heaptally's report.
 *
 * Threads: `workers` that take random steps on blocks of their own and of each other; short-lived
 * visitors that allocate, hand over and end, some with a scope still open and blocks that only
 * their key's destructor frees; a pest that sends signals to workers. With --signal-safe, for an
 * allocator that may be interrupted, every worker also has a timer, and the handler allocates
 * wherever it strikes.
 */
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "book.h"
#include "worker.h"

static pthread_key_t leftovers; /* a visitor's array of slots, freed after the thread's function */
static std::atomic<bool> stop_pest;
static pthread_barrier_t start;  /* workers, pest and main */
static pthread_barrier_t finish; /* workers and main, twice: all at their end; the pest has ended */
static pthread_t worker_threads[64];

static void on_signal(int)
{
    int saved = errno;
    if (worker_here)
        worker_on_signal(worker_here);
    errno = saved;
}

static void *map_zeroed(size_t size)
{
    void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        ledger_fail("no memory for the ledger itself");
    return p;
}

/* ---- visitors -------------------------------------------------------------------------------- */

constexpr int visitor_slots = 40;

struct visitor {
    uint64_t random;
    int rounds; /* of the destructor */
    struct slot slots[visitor_slots];
};

/* Runs as the thread ends, perhaps after heaptally's own destructor, and comes back twice. */
static void free_leftovers(void *argument)
{
    auto *v = (struct visitor *)argument;
    for (int i = v->rounds; i < visitor_slots; i += 3)
        if (v->slots[i].block)
            slot_release(&v->random, &v->slots[i]);
    if (++v->rounds < 3)
        pthread_setspecific(leftovers, v);
    else
        munmap(v, sizeof *v);
}

static void *visit(void *argument)
{
    auto *v = (struct visitor *)argument;
    pthread_setspecific(leftovers, v);
    heaptally_token outer = heaptally_begin(book_name(TAG_VISITOR));
    for (struct slot &s : v->slots)
        slot_fill(&v->random, &s, TAG_VISITOR);
    for (int i = 0; i < visitor_slots; i += 2) {
        struct worker *w = &workers[random_next(&v->random) % (unsigned)settings.workers];
        if (random_next(&v->random) % 4 == 0)
            slot_release(&v->random, &v->slots[i]);
        else if (worker_post(w, &v->slots[i]))
            v->slots[i].block = nullptr;
    }
    if (random_next(&v->random) % 3) /* the others end inside their scope */
        heaptally_end(outer);
    return nullptr;
}

/* One visitor after the other, so that thread states are handed on. */
static void *receive_visitors(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < settings.visitors / 2; i++) {
        auto *v = (struct visitor *)map_zeroed(sizeof(struct visitor));
        v->random = random_next(&random) | 1;
        pthread_t thread;
        if (pthread_create(&thread, nullptr, visit, v) != 0)
            ledger_fail("a thread could not be started");
        pthread_join(thread, nullptr);
    }
    return nullptr;
}

/* ---- workers and pest ------------------------------------------------------------------------ */

static timer_t start_timer()
{
    struct sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR1;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    struct itimerspec often = {{0, 90000}, {0, 90000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &often, nullptr))
        ledger_fail("no timer");
    return timer;
}

static void *work(void *argument)
{
    auto *w = (struct worker *)argument;
    timer_t timer = {};
    worker_here = w;
    pthread_barrier_wait(&start);
    if (settings.signal_safe)
        timer = start_timer();
    worker_run(w, settings.steps);
    if (settings.signal_safe)
        timer_delete(timer);
    pthread_barrier_wait(&finish);
    pthread_barrier_wait(&finish);
    return nullptr;
}

static void *pester(void *)
{
    uint64_t random = settings.seed | 1;
    struct timespec pause = {0, 60000};
    pthread_barrier_wait(&start);
    while (!stop_pest) {
        pthread_kill(worker_threads[random_next(&random) % (unsigned)settings.workers], SIGUSR1);
        nanosleep(&pause, nullptr);
    }
    return nullptr;
}

static void start_threads(pthread_t *pest, pthread_t *hosts)
{
    pthread_barrier_init(&start, nullptr, (unsigned)settings.workers + 2);
    pthread_barrier_init(&finish, nullptr, (unsigned)settings.workers + 1);
    for (int i = 0; i < settings.workers; i++) {
        worker_prepare(&workers[i], settings.seed * 1000 + (unsigned)i);
        pthread_create(&worker_threads[i], nullptr, work, &workers[i]);
    }
    pthread_create(pest, nullptr, pester, nullptr);
    pthread_barrier_wait(&start);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&hosts[i], nullptr, receive_visitors,
                       (void *)(uintptr_t)(settings.seed * 77 + i + 1));
}

/* Returns when all threads are gone and part of the blocks has been freed by this one. */
static void run_threads()
{
    pthread_t pest, hosts[2];
    start_threads(&pest, hosts);
    for (pthread_t host : hosts)
        pthread_join(host, nullptr);
    pthread_barrier_wait(&finish);
    stop_pest = true;
    pthread_join(pest, nullptr);
    pthread_barrier_wait(&finish);
    for (int i = 0; i < settings.workers; i++)
        pthread_join(worker_threads[i], nullptr);
    for (int i = 0; i < settings.workers; i++)
        worker_clear_some(&workers[i]);
}

/* ---- command line ---------------------------------------------------------------------------- */

static bool read_option(const char *name, const char *value)
{
    if (strcmp(name, "--no-pvalloc") == 0)
        settings.pvalloc = false;
    else if (strcmp(name, "--no-huge") == 0)
        settings.huge = false;
    else if (strcmp(name, "--adopt") == 0)
        settings.adopting = true;
    else if (strcmp(name, "--signal-safe") == 0)
        settings.signal_safe = true;
    else if (strcmp(name, "--seed") == 0 && value)
        return settings.seed = strtoull(value, nullptr, 10), true;
    else if (strcmp(name, "--workers") == 0 && value)
        return settings.workers = atoi(value), true;
    else if (strcmp(name, "--steps") == 0 && value)
        return settings.steps = atoi(value), true;
    else if (strcmp(name, "--visitors") == 0 && value)
        return settings.visitors = atoi(value), true;
    else
        ledger_fail("unknown option");
    return false;
}

static void print_book()
{
    unsigned long handled = 0, wrong_errno = 0;
    for (int i = 0; i < settings.workers; i++) {
        handled += workers[i].handled;
        wrong_errno += workers[i].wrong_errno;
    }
    printf(
        "{\"seed\": %llu, \"signals_handled\": %lu, \"wrong_errno\": %lu, \"misaligned\": %lu,\n",
        (unsigned long long)settings.seed, handled, wrong_errno, misaligned.load());
    printf("\"tags\": ");
    book_print();
    printf("}\n");
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        i += read_option(argv[i], argv[i + 1]);
    if (settings.workers < 1 || settings.workers > 64)
        ledger_fail("--workers must be 1 to 64");
    workers = (struct worker *)map_zeroed(sizeof(struct worker) * (unsigned)settings.workers);
    pthread_key_create(&leftovers, free_leftovers);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    tags_prepare();
    run_threads();
    print_book();
    return 0;
}
