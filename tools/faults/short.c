// Makes reads and writes of the files whose path contains SHORT_PATH move half of what they are asked to, as they may.
//
// For LD_PRELOAD: strace can change what a call returns, but not what it does. Makes the file SHORT_PROOF once it did so.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t half(int file, size_t count) {
    const char *wanted = getenv("SHORT_PATH"), *proof = getenv("SHORT_PROOF");
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!wanted || !proof || count < 2 || length < 0) return count;
    path[length] = 0;
    if (!strstr(path, wanted)) return count;
    close(open(proof, O_WRONLY | O_CREAT, 0644));
    return count / 2;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int file, void *buffer, size_t count) { return NEXT(read)(file, buffer, half(file, count)); }
ssize_t write(int file, const void *buffer, size_t count) { return NEXT(write)(file, buffer, half(file, count)); }
ssize_t pread(int file, void *buffer, size_t count, off_t at) { return NEXT(pread)(file, buffer, half(file, count), at); }
ssize_t pread64(int file, void *buffer, size_t count, off64_t at) { return NEXT(pread64)(file, buffer, half(file, count), at); }
ssize_t pwrite(int file, const void *buffer, size_t count, off_t at) { return NEXT(pwrite)(file, buffer, half(file, count), at); }
ssize_t pwrite64(int file, const void *buffer, size_t count, off64_t at) { return NEXT(pwrite64)(file, buffer, half(file, count), at); }
