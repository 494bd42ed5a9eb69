#include "blame.h"

#include <stdlib.h>

#include "frame_text.h"
#include "text.h"

struct ht_stack_line *ht_stack_lines(struct ht_symbolizer *symbolizer, const struct ht_stack *stack,
                                     size_t *count)
{
    struct ht_stack_line *lines = NULL;
    *count = 0;
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct ht_frame *frame = &stack->frames[i];
        const struct ht_place *place = ht_symbolize(symbolizer, frame);
        for (size_t j = 0; j < place->count; j++) {
            const struct ht_function *function = &place->functions[j];
            lines = ht_room_for_one(lines, *count, sizeof *lines);
            lines[(*count)++] =
                (struct ht_stack_line){frame, function, ht_is_plumbing(frame, function)};
        }
    }
    return lines;
}

bool ht_blamed_line(struct ht_symbolizer *symbolizer, const struct ht_site *site,
                    struct ht_stack_line *line)
{
    size_t count, i = 0;
    struct ht_stack_line *lines = ht_stack_lines(symbolizer, site->stack, &count);
    while (i < count && lines[i].plumbing)
        i++;
    if (count > 0)
        *line = lines[i < count ? i : 0];
    free(lines);
    return count > 0;
}
