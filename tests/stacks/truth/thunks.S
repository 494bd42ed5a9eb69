/*
 * Thunks note on the shadow stack where they were called from and jump on: the function they stand
 * for sees the stack as if it had been called directly. Frames have a frame of their own, with or
 * without unwind information, which they give true or leave out as their names say.
 *
 * struct shadow: depth at 0, slots from 8 on, 8 bytes each. r10 and r11 are free at entry.
 */
        .macro  note_caller
        movq    shadow_self@gottpoff(%rip), %r10
        movq    %fs:(%r10), %r10
        movq    (%r10), %r11
        incq    (%r10)
        leaq    8(%r10,%r11,8), %r10
        movq    (%rsp), %r11
        movq    %r11, (%r10)
        .endm

        .macro  thunk name, target
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        note_caller
        jmp     \target@PLT
        .cfi_endproc
        .size   \name, . - \name
        .endm

        .text
        thunk   thunk_malloc, malloc
        thunk   thunk_calloc, calloc
        thunk   thunk_realloc, realloc
        thunk   thunk_posix_memalign, posix_memalign
        thunk   thunk_aligned_alloc, aligned_alloc
        thunk   thunk_new, _Znwm
        thunk   thunk_strdup, strdup
        thunk   thunk_qsort, qsort
        thunk   thunk_bsearch, bsearch

        .macro  begin name
        .globl  \name
        .type   \name, @function
\name:
        .endm
        .macro  end name
        .size   \name, . - \name
        .endm

        /* function in rdi, script in rsi: leaves the function in rax, the script in rdi. */
        .macro  take_arguments
        movq    %rdi, %rax
        movq    %rsi, %rdi
        .endm

        begin   frame_without_cfi
        note_caller
        take_arguments
        subq    $40, %rsp
        call    *%rax
        addq    $40, %rsp
        ret
        end     frame_without_cfi

        /* rbp points at something that looks like a frame record, and is none. */
        begin   frame_without_cfi_false_rbp
        note_caller
        take_arguments
        pushq   %rbp
        subq    $48, %rsp
        leaq    32(%rsp), %r10
        movq    %r10, 16(%rsp)
        leaq    main(%rip), %r11
        addq    $5, %r11
        movq    %r11, 24(%rsp)
        leaq    16(%rsp), %rbp
        call    *%rax
        addq    $48, %rsp
        popq    %rbp
        ret
        end     frame_without_cfi_false_rbp

        begin   frame_cfi_plain
        .cfi_startproc
        note_caller
        take_arguments
        subq    $56, %rsp
        .cfi_adjust_cfa_offset 56
        call    *%rax
        addq    $56, %rsp
        .cfi_adjust_cfa_offset -56
        ret
        .cfi_endproc
        end     frame_cfi_plain

        /* Its size depends on the script's address, and it leaves stale words below. */
        begin   frame_cfi_rbp
        .cfi_startproc
        note_caller
        take_arguments
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdi, %r10
        andq    $0x1f0, %r10
        subq    %r10, %rsp
        call    *%rax
        leave
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        end     frame_cfi_rbp

        begin   frame_cfi_rbp_is_scratch
        .cfi_startproc
        note_caller
        take_arguments
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        orq     $0x38, %rbp
        call    *%rax
        popq    %rbp
        .cfi_restore %rbp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        end     frame_cfi_rbp_is_scratch

        /* The call stands between pushes: the CFA's distance is another at each place. */
        begin   frame_cfi_pushes
        .cfi_startproc
        note_caller
        take_arguments
        pushq   %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        pushq   %r12
        .cfi_def_cfa_offset 24
        .cfi_offset %r12, -24
        pushq   %rbp
        .cfi_def_cfa_offset 32
        .cfi_offset %rbp, -32
        pushq   %r13
        .cfi_def_cfa_offset 40
        .cfi_offset %r13, -40
        subq    $8, %rsp
        .cfi_def_cfa_offset 48
        movl    $7, %ebp
        call    *%rax
        addq    $8, %rsp
        .cfi_def_cfa_offset 40
        popq    %r13
        .cfi_restore %r13
        .cfi_def_cfa_offset 32
        popq    %rbp
        .cfi_restore %rbp
        .cfi_def_cfa_offset 24
        popq    %r12
        .cfi_restore %r12
        .cfi_def_cfa_offset 16
        popq    %rbx
        .cfi_restore %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        end     frame_cfi_pushes

        /* The CFA hangs on rbx, which no walk that only knows rbp can follow. */
        begin   frame_cfi_by_rbx
        .cfi_startproc
        note_caller
        take_arguments
        pushq   %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        subq    $128, %rsp
        andq    $-64, %rsp
        call    *%rax
        movq    %rbx, %rsp
        popq    %rbx
        .cfi_restore %rbx
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        end     frame_cfi_by_rbx

        /* rbp is saved in r12, not on the stack. */
        begin   frame_cfi_rbp_in_register
        .cfi_startproc
        note_caller
        take_arguments
        pushq   %r12
        .cfi_def_cfa_offset 16
        .cfi_offset %r12, -16
        movq    %rbp, %r12
        .cfi_register %rbp, %r12
        leaq    -64(%rsp), %rbp
        call    *%rax
        movq    %r12, %rbp
        .cfi_restore %rbp
        popq    %r12
        .cfi_restore %r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        end     frame_cfi_rbp_in_register

        .section .note.GNU-stack, "", @progbits
