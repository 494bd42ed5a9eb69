/* What the generated half of the program gives to the other one. */
#ifndef PROGRAM_H
#define PROGRAM_H

/* A way through the program: where it begins, and which of its calls each function takes. */
struct shadow_script {
    unsigned function;
    const unsigned char *steps;
};

extern const struct shadow_script shadow_scripts[];
extern const unsigned shadow_script_count;

#endif
