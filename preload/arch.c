#include "arch.h"

#include <cpuid.h>
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

struct cpuid {
    unsigned eax, ebx, ecx, edx;
};

/* Each of these takes a virtual machine 10 us or more, and the compiler's own look at the processor
 * a dozen of them. */
static struct cpuid cpuid(unsigned leaf)
{
    struct cpuid id;
    __cpuid_count(leaf, 0, id.eax, id.ebx, id.ecx, id.edx);
    return id;
}

/* Which registers the system keeps for each thread. */
static unsigned kept_registers(void)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#define KEPT_YMM 0x06u /* and xmm */
#define KEPT_ZMM 0xe6u /* and these, xmm16 and on, and masks */

static bool has_all(unsigned word, unsigned bits)
{
    return (word & bits) == bits;
}

enum ht_gather ht_gather_widest(void)
{
    if (cpuid(0).eax < 7 || !has_all(cpuid(1).ecx, bit_OSXSAVE | bit_AVX))
        return HT_GATHER_NONE;
    unsigned features = cpuid(7).ebx, kept = kept_registers();
    if (has_all(features, bit_AVX512F | bit_AVX512DQ | bit_AVX512VL) && has_all(kept, KEPT_ZMM))
        return HT_GATHER_AVX512;
    return has_all(features, bit_AVX2) && has_all(kept, KEPT_YMM) ? HT_GATHER_AVX2 : HT_GATHER_NONE;
}

static bool is_intels(void)
{
    struct cpuid id = cpuid(0);
    return id.ebx == signature_INTEL_ebx && id.ecx == signature_INTEL_ecx &&
           id.edx == signature_INTEL_edx;
}

void ht_arch_begin(void)
{
    if (is_intels() && gathers_unhindered())
        ht_gather = ht_gather_widest();
}
