/* A controller of a version of the interface that does not exist yet. */
#include <heaptally/controller.h>

const struct heaptally_controller heaptally_controller = {.version = 99};
