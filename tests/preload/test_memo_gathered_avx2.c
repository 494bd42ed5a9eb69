/*
 * Remembered words that are fetched four at once by AVX2, against the model (memo_model.h). Whether
 * or not that is quicker here: where the processor can. Where it cannot, there is nothing to test.
 */
#include <stdio.h>

#include "../../preload/arch.h"
#include "memo_model.h"
#include "support.h"

START_TEST(gathered_words)
{
    ht_gather = HT_GATHER_AVX2;
    memo_stress(true, 3584);
}
END_TEST

START_TEST(gathered_words_small_ring)
{
    ht_gather = HT_GATHER_AVX2;
    memo_stress(true, 96);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {gathered_words, gathered_words_small_ring};
    if (ht_gather_widest() < HT_GATHER_AVX2) {
        fprintf(stderr, "SKIP: this processor has no AVX2\n");
        return 77;
    }
    return support_run("memo_gathered_avx2", tests, sizeof tests / sizeof *tests);
}
