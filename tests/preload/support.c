#include "support.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../preload/capture_ring.h"
#include "../../preload/real_alloc.h"
#include "../../preload/site_table.h"
#include "../../preload/tag.h"

struct ht_real ht_real = {
    .malloc = malloc,
    .free = free,
    .calloc = calloc,
    .realloc = realloc,
    .malloc_usable_size = malloc_usable_size,
};

bool ht_bootstrap_owns(const void *block)
{
    (void)block;
    return false;
}

bool support_has_glibc_malloc(void)
{
#if defined(__SANITIZE_ADDRESS__) || HT_THREAD_SANITIZER
    return false;
#else
    size_t *p = ht_real.malloc(100);
    bool glibc = p && malloc_usable_size(p) == (p[-1] & ~(size_t)7) - 8;
    free(p);
    return glibc;
#endif
}

void support_begin(void)
{
    ck_assert(ht_tag_begin());
    ck_assert(ht_site_begin());
    ck_assert(ht_capture_begin());
}

static char base[40]; /* of all tests; made and removed by the process that runs them */

const char *support_directory(void)
{
    static char directory[64];
    snprintf(directory, sizeof directory, "%s/%d", base, (int)getpid());
    ck_assert_int_eq(mkdir(directory, 0755), 0);
    return directory;
}

uint64_t support_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

int support_run(const char *name, const TTest *const *tests, unsigned count)
{
    strcpy(base, "/tmp/heaptally-test-XXXXXX");
    if (!mkdtemp(base) || chmod(base, 0755) != 0)
        return 1;
    Suite *suite = suite_create(name);
    TCase *all = tcase_create(name);
    tcase_set_timeout(all, 240);
    for (unsigned i = 0; i < count; i++)
        tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    char command[120];
    snprintf(command, sizeof command, "chmod -R u+w %s && rm -rf %s", base, base);
    if (system(command) != 0)
        fprintf(stderr, "%s: could not be removed\n", base);
    return failed ? 1 : 0;
}
