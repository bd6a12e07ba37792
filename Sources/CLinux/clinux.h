// Linux calls and constants that the Glibc module of Swift lacks, and C that must run where Swift may not: in a signal handler.
#ifndef CLINUX_H
#define CLINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <unistd.h>

static inline int clinux_pipe2(int ends[2], int flags) {
    return pipe2(ends, flags);
}

#endif
