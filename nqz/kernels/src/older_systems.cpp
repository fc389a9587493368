// What compilers from 2021 on ask of the C++ library and libraries before do not have, made of what these have: with it
// the module loads wherever libstdc++ of GCC 7.1 (2017) is. Linking the library in would be no way out: its own needs
// of the C library are as new as the compiler.

#include <new>

#define NQZ_COPY "_ZNSt15__exception_ptr13exception_ptrC1ERKS0_"
#define NQZ_DESTROY "_ZNSt15__exception_ptr13exception_ptrD1Ev"
#define NQZ_ADD_REFERENCE "_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv"
#define NQZ_RELEASE "_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv"
#define NQZ_BAD_LENGTH "_ZSt28__throw_bad_array_new_lengthv"

extern "C" {

// a std::exception_ptr is one pointer to what was thrown, which counts its owners
void nqz_exception_copy(void** to, void* const* from) noexcept __asm__(NQZ_COPY);
void nqz_exception_destroy(void** one) noexcept __asm__(NQZ_DESTROY);
void nqz_exception_add_reference(void** one) noexcept __asm__(NQZ_ADD_REFERENCE);
void nqz_exception_release(void** one) noexcept __asm__(NQZ_RELEASE);
[[noreturn]] void nqz_bad_array_new_length() __asm__(NQZ_BAD_LENGTH);

void nqz_exception_add_reference(void** one) noexcept {
    void* owner = nullptr;  // one more, which is never destroyed
    nqz_exception_copy(&owner, one);
}

void nqz_exception_release(void** one) noexcept {
    nqz_exception_destroy(one);
    *one = nullptr;
}

void nqz_bad_array_new_length() { throw std::bad_array_new_length(); }

}  // extern "C"
