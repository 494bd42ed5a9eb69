/* Names of functions as their language writes them. */
#ifndef HEAPTALLY_ANALYZER_DEMANGLE_H
#define HEAPTALLY_ANALYZER_DEMANGLE_H

/*
 * A new string, clean: the name of a symbol as C++ or Rust (both manglings, without the hash)
 * write it; a name of C, or one that cannot be demangled, as it is. Names are untrusted: those that
 * are longer than any compiler makes them stay as they are.
 */
char *ht_demangle(const char *name);

#endif
