// Linux calls and constants that the Glibc module of Swift lacks, and C that must run where Swift may not: in a signal handler.
#ifndef CLINUX_H
#define CLINUX_H

// Without _GNU_SOURCE, as Swift's module Glibc is compiled: with it, <sys/select.h> would define another fd_set, and which
// of the two a file of Swift meets first would depend on the order in which files are compiled.
#include <fcntl.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// What the headers declare with _GNU_SOURCE only.
extern char **environ;
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);

static inline int clinux_pipe2(int ends[2], int flags) {
    return (int)syscall(SYS_pipe2, ends, flags);
}

// The variables of the process, as `getenv` sees them.
static inline char **clinux_environment(void) {
    return environ;
}

// Overwrites a text in place; a compiler may not leave that away.
static inline void clinux_erase(char *text) {
    explicit_bzero(text, strlen(text));
}

// Blocks of so many bytes go back to the system when they are freed; otherwise the threshold grows with each of them.
static inline int clinux_map_blocks_from(int bytes) {
    return mallopt(M_MMAP_THRESHOLD, bytes);
}

static inline int clinux_addclosefrom(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

// Programs whose parents have ended become children of this process.
static inline int clinux_become_subreaper(void) {
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

// Of the calling thread, and of the threads and programs that it starts from now on.
static inline int clinux_forbid_new_privileges(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static inline int clinux_pidfd_open(pid_t process) {
    return (int)syscall(SYS_pidfd_open, process, 0);
}

static inline int clinux_pidfd_send_signal(int process, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, process, signal, 0, 0);
}

// Sets the lock of an open file over the whole file, without waiting: F_OFD_SETLK, which needs _GNU_SOURCE.
static inline int clinux_set_file_lock(int file, int type) {
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET};
    return fcntl(file, 37, &lock);
}

// The type of the lock that would be in the way of this one, or F_UNLCK: F_OFD_GETLK.
static inline int clinux_file_lock(int file, int type) {
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET};
    return fcntl(file, 36, &lock) == -1 ? -1 : lock.l_type;
}

// F_SETPIPE_SZ, which needs _GNU_SOURCE.
static inline int clinux_set_pipe_capacity(int pipe, int bytes) {
    return fcntl(pipe, 1031, bytes);
}

static inline int clinux_unacknowledged_bytes(int socket, int *count) {
    return ioctl(socket, SIOCOUTQ, count);
}

// The name of the calling thread in tools such as `top -H`: at most 15 bytes of it.
static inline int clinux_name_thread(const char *name) {
    return prctl(PR_SET_NAME, name, 0, 0, 0);
}

static inline int clinux_accept4(int listener, void *peer, unsigned *length) {
    return (int)syscall(SYS_accept4, listener, peer, length, O_NONBLOCK | O_CLOEXEC);
}

/* Ignores a signal that still has its default disposition, by the system call itself: glibc's sigaction(2) refuses the
   two signals that its threads use. The kernel's structure begins with the handler, on x86-64 and on arm64 alike. */
static inline int clinux_ignore_if_default(int signal) {
    unsigned long action[4] = {0};
    if (syscall(SYS_rt_sigaction, signal, 0, action, 8) != 0) return -1;
    if (action[0] != 0) return 0;
    unsigned long ignore[4] = {1};
    return (int)syscall(SYS_rt_sigaction, signal, ignore, 0, 8);
}

#endif
