/* Asking over a control socket: what is heard where the process has not waited for the question. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_client.h"
#include "../run_suite.h"

#define SAY(fd, text) ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text))

/* A client whose process, `*end`, is this one. */
static struct ht_client connected(int *end)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    *end = ends[1];
    return (struct ht_client){.pid = getpid(), .fd = ends[0], .patience_ms = 5000};
}

START_TEST(answered)
{
    int end;
    char *error, read_back[16] = "";
    size_t length = 0;
    struct ht_client client = connected(&end);
    SAY(end, "heaptally/1 ok 4\ndone");
    char *answer = ht_client_ask(&client, "stop", &length, &error);
    ck_assert_ptr_null(error);
    ck_assert_str_eq(answer, "done");
    ck_assert_uint_eq(length, 4);
    ck_assert_int_eq(read(end, read_back, sizeof read_back - 1), 5);
    ck_assert_str_eq(read_back, "stop\n");
    free(answer);
    ht_client_close(&client);
    close(end);
}
END_TEST

/* Whoever may not ask is refused when the connection is taken, which may be before the question. */
START_TEST(refused_before_it_asked)
{
    int end;
    char *error;
    struct ht_client client = connected(&end);
    SAY(end, "heaptally/1 error only its user may ask\n");
    close(end);
    ck_assert_ptr_null(ht_client_ask(&client, "stop", NULL, &error));
    ck_assert_str_eq(error, "only its user may ask");
    free(error);
    ht_client_close(&client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tests = tcase_create("client");
    tcase_add_test(tests, answered);
    tcase_add_test(tests, refused_before_it_asked);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
