#include "arch.h"

#include <string.h>

#include "raw_io.h"

uint32_t ht_gather;

/* The kernel knows of processors and microcode what a program cannot ask for. */
static bool gathers_unhindered(void)
{
    static const char *const file = "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling";
    static const char unhindered[] = "Not affected";
    char text[64] = "";
    return ht_read_file(file, text, sizeof text) > 0 &&
           strncmp(text, unhindered, sizeof unhindered - 1) == 0;
}

enum ht_gather ht_gather_widest(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return HT_GATHER_AVX512;
    return __builtin_cpu_supports("avx2") ? HT_GATHER_AVX2 : HT_GATHER_NONE;
}

void ht_arch_begin(void)
{
    enum ht_gather widest = ht_gather_widest();
    if (__builtin_cpu_is("intel") && gathers_unhindered())
        ht_gather = widest;
}
