/* The ledger's JSON; the names of the figures are one table. */
#include "ledger.h"

#include <errno.h>
#include <inttypes.h>

#define FIGURE(name)                                                                               \
    {                                                                                              \
#name, offsetof(struct ledger, name)                                                       \
    }

static const struct {
    const char *name;
    size_t offset;
} figures[] = {
    FIGURE(live_bytes), FIGURE(live_blocks),    FIGURE(allocated_bytes), FIGURE(allocated_blocks),
    FIGURE(peak_bytes), FIGURE(instantiations), FIGURE(cycles),          FIGURE(lost_rows),
};

static void write_one(FILE *out, const struct ledger *ledger)
{
    fprintf(out, "    {\"tag\": \"%s\"", ledger->name);
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        const uint64_t *figure = (const uint64_t *)((const char *)ledger + figures[i].offset);
        fprintf(out, ", \"%s\": %" PRIu64, figures[i].name, *figure);
    }
    fprintf(out, "}");
}

int ledger_write_json(FILE *out, const struct ledger *const ledgers[], size_t count)
{
    fprintf(out, "{\n  \"schema\": \"heaptally-demo-truth/1\",\n  \"controllers\": [\n");
    for (size_t i = 0; i < count; i++) {
        write_one(out, ledgers[i]);
        fprintf(out, "%s\n", i + 1 < count ? "," : "");
    }
    fprintf(out, "  ]\n}\n");
    return fflush(out) || ferror(out) ? -EIO : 0;
}
