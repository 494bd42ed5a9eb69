/* libunwind's functions for reading unwind tables of "another" process, loaded at run time.
 *
 * Linking with it is out of the question: the libunwind.so.8 it needs exports _Unwind_* symbols
 * that would take over the program's C++ exceptions. Loaded with RTLD_LOCAL its symbols stay out
 * of the program's scope.
 *
 * Threads: the monitor only. Calls the loader and the allocator. */
#ifndef HEAPTALLY_UNWIND_LIBRARY_H
#define HEAPTALLY_UNWIND_LIBRARY_H

#include <libunwind-x86_64.h>

/* The functions we use: F(name, result, parameters). The macros of libunwind's header expand
 * unw_NAME to the symbol of this architecture. */
#define UNWIND_LIBRARY_FUNCTIONS(F)                                                                \
    F(create_addr_space, unw_addr_space_t, (unw_accessors_t *, int))                               \
    F(destroy_addr_space, void, (unw_addr_space_t))                                                \
    F(set_caching_policy, int, (unw_addr_space_t, unw_caching_policy_t))                           \
    F(init_remote, int, (unw_cursor_t *, unw_addr_space_t, void *))                                \
    F(reg_states_iterate, int, (unw_cursor_t *, unw_reg_states_callback, void *))                  \
    F(apply_reg_state, int, (unw_cursor_t *, void *))                                              \
    F(get_reg, int, (unw_cursor_t *, int, unw_word_t *))                                           \
    F(dwarf_search_unwind_table, int,                                                              \
      (unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *))

struct unwind_library {
#define FIELD(name, result, parameters) result(*name) parameters;
    UNWIND_LIBRARY_FUNCTIONS(FIELD)
#undef FIELD
};

/* Loads the library, once; it stays loaded. It opens a pipe of its own, for a check of local
 * memory that we never ask for; the two descriptors are closed again, so that the program finds
 * none that it didn't open.
 * 0 and *library filled; -ENOENT if it cannot be loaded, -ENOSYS if it lacks a function. */
int unwind_library_load(struct unwind_library *library);

#endif
