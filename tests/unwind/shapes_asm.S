/* See shapes.h: functions in assembly, with and without unwind info. */

        .text

/* int asm_with_cfi(int left): keeps rbx and rbp, and has a frame that no compiler would make. */
        .globl  asm_with_cfi
        .type   asm_with_cfi, @function
asm_with_cfi:
        .cfi_startproc
        push    %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        sub     $80, %rsp
        .cfi_adjust_cfa_offset 80
        mov     %rbp, 40(%rsp)
        .cfi_rel_offset %rbp, 40
        mov     $0x1234, %ebp           /* not a frame pointer */
        lea     -1(%rdi), %edi
        mov     88(%rsp), %rsi
        call    go_deeper_from_assembly@PLT
        mov     40(%rsp), %rbp
        .cfi_restore %rbp
        add     $80, %rsp
        .cfi_adjust_cfa_offset -80
        pop     %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        ret
        .cfi_endproc
        .size   asm_with_cfi, . - asm_with_cfi

/* Code before and after that isn't covered either, so that no neighbour's info reaches it. */
        .fill   64, 1, 0xcc

/* int asm_without_cfi(int left): a frame pointer chain that looks inviting, and no unwind info. */
        .globl  asm_without_cfi
        .type   asm_without_cfi, @function
asm_without_cfi:
        push    %rbp
        mov     %rsp, %rbp
        lea     -1(%rdi), %edi
        mov     8(%rsp), %rsi
        call    go_deeper_from_assembly@PLT
        .globl  asm_without_cfi_returns
asm_without_cfi_returns:
        pop     %rbp
        ret
        .size   asm_without_cfi, . - asm_without_cfi
        .fill   64, 1, 0xcc

        .section .note.GNU-stack, "", @progbits
