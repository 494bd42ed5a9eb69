/*
 * A controller for `heaptally loop` that does what its configuration says, one word and a number:
 *
 *   leak N         each step forgets a block of N bytes
 *   once N         the first step keeps a block of N bytes
 *   hold N         each step keeps a block of N bytes; destroy gives all of them back
 *   fail N         step N fails (from 0)
 *   crash N        step N ends the process by SIGSEGV
 *   exit N         step N ends the process with status 7
 *   refuse 0       no controller is made
 *   count 0        nothing of that
 *
 * At the end it prints what was asked of it, and the mean and variance of the states.
 */
#include <heaptally/controller.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct block {
    struct block *next;
};

static struct {
    char what[20];
    unsigned long number;
    unsigned long initialised, computed, cleaned;
    double sum, squares, first;
    struct block *held;
} self;

static void *create(const char *config, char *error, size_t size)
{
    if (*config && sscanf(config, "%19s %lu", self.what, &self.number) != 2) {
        snprintf(error, size, "the configuration is no word and number");
        return NULL;
    }
    if (strcmp(self.what, "refuse") == 0) {
        snprintf(error, size, "as it was told");
        return NULL;
    }
    return &self;
}

static int initialise(void *controller)
{
    (void)controller;
    self.initialised++;
    return 0;
}

static int is(const char *what)
{
    return strcmp(self.what, what) == 0;
}

static int compute(void *controller, const double x[HEAPTALLY_CONTROLLER_STATES], double *u)
{
    (void)controller;
    unsigned long step = self.computed++;
    if (step == 0)
        self.first = x[0];
    for (int i = 0; i < HEAPTALLY_CONTROLLER_STATES; i++) {
        self.sum += x[i];
        self.squares += x[i] * x[i];
    }
    *u = x[0];
    if (step == self.number && is("fail"))
        return -1;
    if (step == self.number && is("crash"))
        raise(SIGSEGV);
    if (step == self.number && is("exit"))
        exit(7);
    if (is("leak") || is("hold") || (is("once") && step == 0)) {
        struct block *block = malloc(self.number);
        if (!block)
            return -1;
        memset(block, 1, self.number);
        block->next = self.held;
        self.held = is("hold") ? block : NULL;
    }
    return 0;
}

static void cleanup(void *controller)
{
    (void)controller;
    self.cleaned++;
}

static void destroy(void *controller)
{
    (void)controller;
    for (struct block *next; self.held; self.held = next) {
        next = self.held->next;
        free(self.held);
    }
    double n = (double)self.computed * HEAPTALLY_CONTROLLER_STATES, mean = n > 0 ? self.sum / n : 0;
    dprintf(STDERR_FILENO,
            "probe: initialised %lu computed %lu cleaned %lu mean %.4f variance %.4f first %.17g\n",
            self.initialised, self.computed, self.cleaned, mean,
            n > 0 ? self.squares / n - mean * mean : 0, self.first);
}

const struct heaptally_controller heaptally_controller = {
    HEAPTALLY_CONTROLLER_VERSION,
    sizeof(struct heaptally_controller),
    create,
    initialise,
    compute,
    cleanup,
    destroy,
};
