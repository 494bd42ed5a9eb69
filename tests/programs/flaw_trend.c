/*
 * A controller whose memory is flat. Prints, as JSON, what is said of it with fewer than 10
 * samples, with more, and right after the baseline was reset.
 */
#include "program.h"

static void print(const char *when, const char *end)
{
    struct heaptally_trend trend;
    char report[4096];
    int answer = heaptally_analyze_trend("flat", &trend);
    heaptally_memory_report(report, sizeof report);
    report[strcspn(report, "\n")] = 0;
    printf("\"%s\": {\"answer\": %d, \"insufficient\": %d, \"samples\": %d, \"monotonic\": %d, "
           "\"shape\": \"%s\", \"rate\": %.3f, \"report\": \"%s\"}%s\n",
           when, answer, trend.insufficient_data, (int)trend.samples, trend.monotonic_growth,
           trend.insufficient_data ? "" : trend.shape,
           trend.insufficient_data ? 0 : trend.growth_rate_mb_per_hour, report, end);
}

int main(void)
{
    printf("{");
    HEAPTALLY_SCOPE("flat")
    {
        MUST((program_sink = malloc(1 << 20)) != NULL);
        sleep_ms(300);
        print("early", ",");
        sleep_ms(2000);
        print("flat", ",");
        MUST(heaptally_reset_baseline() == 0);
        print("after reset", "}");
    }
    return 0;
}
