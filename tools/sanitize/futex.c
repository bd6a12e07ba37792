// Tells ThreadSanitizer of Swift's Mutex, as a library that is loaded before the system's.
//
// The fast path of a Mutex is inlined where it is used, and so seen. A thread that has to wait does so in a library that
// is not instrumented, by the futex calls below: without this, what one thread leaves under a lock and the next finds
// there would be reported as a race. They are told of the very word that the fast path uses, and nothing else is hidden.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>

// Absent in programs that are not instrumented, which load this, too.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

static long (*system_call)(long, ...);

__attribute__((constructor)) static void find(void) {
    system_call = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

long syscall(long number, ...) {
    long word[6];
    va_list list;
    va_start(list, number);
    for (int index = 0; index < 6; index++) word[index] = va_arg(list, long);
    va_end(list);
    if (!system_call) find();
    int operation = number == SYS_futex ? word[1] & FUTEX_CMD_MASK : -1;
    if (operation == FUTEX_UNLOCK_PI && __tsan_release) __tsan_release((void *)word[0]);
    long result = system_call(number, word[0], word[1], word[2], word[3], word[4], word[5]);
    int takes = operation == FUTEX_LOCK_PI || operation == FUTEX_TRYLOCK_PI;
    if (takes && result == 0 && __tsan_acquire) __tsan_acquire((void *)word[0]);
    return result;
}
