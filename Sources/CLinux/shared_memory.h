// Memory that is mapped from files which other processes can cut, and that is moved to another file under running writers.
//
// A store to a page that is no longer in the file raises SIGBUS, and a store while the memory is frozen raises SIGSEGV. The
// handlers here answer both for registered ranges and pass on everything else. They run in signal handlers: only system
// calls and plain memory, no allocation, no locks of the C library.
#ifndef CLINUX_SHARED_MEMORY_H
#define CLINUX_SHARED_MEMORY_H

// No header of the C library: what it defines would be this module's for Swift, and every file that uses `sigaction` or
// `timespec` would have to import it. These are the declarations of glibc on 64-bit Linux.
#define CLINUX_SIGBUS 7
#define CLINUX_SIGSEGV 11
#define CLINUX_BUS_ADRERR 2
#define CLINUX_SEGV_ACCERR 2
#define CLINUX_SA_SIGINFO 0x00000004
#define CLINUX_SA_ONSTACK 0x08000000
#define CLINUX_SA_RESTART 0x10000000
#define CLINUX_PROT_READ 1
#define CLINUX_PROT_WRITE 2
#define CLINUX_MAP_PRIVATE 0x02
#define CLINUX_MAP_ANONYMOUS 0x20
#define CLINUX_MREMAP_MAYMOVE 1
#define CLINUX_MREMAP_FIXED 2
/// Since Linux 5.14: fails where a store would raise SIGBUS.
#define CLINUX_MADV_POPULATE_WRITE 23
#define CLINUX_SC_PAGESIZE 30

#define CLINUX_MAX_RANGES 4096

struct clinux_signal_info {
    int signal, error, code, padding;
    unsigned long address;
};

struct clinux_action {
    void (*handler)(int, struct clinux_signal_info *, void *);
    unsigned long mask[16];
    int flags;
    void (*restorer)(void);
};

extern int *clinux_errno(void) __asm__("__errno_location");
extern int clinux_sigaction(int, const struct clinux_action *, struct clinux_action *)
    __asm__("sigaction");
extern int clinux_raise(int) __asm__("raise");
extern int clinux_sched_yield(void) __asm__("sched_yield");
extern long clinux_sysconf(int) __asm__("sysconf");
extern void *clinux_mmap(void *, unsigned long, int, int, int, long) __asm__("mmap");
extern int clinux_munmap(void *, unsigned long) __asm__("munmap");
extern int clinux_mprotect(void *, unsigned long, int) __asm__("mprotect");
extern int clinux_madvise(void *, unsigned long, int) __asm__("madvise");
extern void *clinux_mremap(void *, unsigned long, unsigned long, int, ...) __asm__("mremap");

static inline unsigned long clinux_page_size(void) {
    return (unsigned long)clinux_sysconf(CLINUX_SC_PAGESIZE);
}

struct clinux_range {
    /// 0: the slot is free.
    unsigned long start;
    unsigned long length;
    /// Taken by whoever replaces the pages of the range: a handler, or the thread that maps another file.
    int token;
    /// The file was cut: the range is private memory now.
    int lost;
    /// What the range has after its file was cut; 0 for zeros.
    unsigned long copy;
};

struct clinux_range_table {
    struct clinux_range ranges[CLINUX_MAX_RANGES];
    /// Slots from here on were never used.
    int used;
    /// Held while a range is added.
    int lock;
    int installed;
    struct clinux_action bus, segv;
};

// One copy for the whole program: `static` would be one for each object file, and without a value it would lie at address 0.
__attribute__((weak, visibility("hidden"))) struct clinux_range_table clinux_ranges = {0};

static inline struct clinux_range *clinux_find_range(unsigned long address) {
    int used = __atomic_load_n(&clinux_ranges.used, __ATOMIC_ACQUIRE);
    for (int index = 0; index < used; index++) {
        struct clinux_range *range = &clinux_ranges.ranges[index];
        unsigned long start = __atomic_load_n(&range->start, __ATOMIC_ACQUIRE);
        if (start != 0 && address >= start && address - start < range->length) { return range; }
    }
    return 0;
}

static inline int clinux_try_token(struct clinux_range *range) {
    int free = 0;
    return __atomic_compare_exchange_n(&range->token, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/// Never held across a store to the range, so that no handler waits for its own thread.
static inline void clinux_take_token(struct clinux_range *range) {
    while (!clinux_try_token(range)) { clinux_sched_yield(); }
}

static inline void clinux_give_token(struct clinux_range *range) {
    __atomic_store_n(&range->token, 0, __ATOMIC_RELEASE);
}

/// Puts private memory with the range's copy in the place of its pages; the token is held.
static inline int clinux_use_copy(struct clinux_range *range) {
    int access = CLINUX_PROT_READ | CLINUX_PROT_WRITE;
    int kind = CLINUX_MAP_PRIVATE | CLINUX_MAP_ANONYMOUS;
    void *memory = clinux_mmap(0, range->length, access, kind, -1, 0);
    if (memory == (void *)-1) { return -1; }
    if (range->copy != 0) { __builtin_memcpy(memory, (const void *)range->copy, range->length); }
    void *start = (void *)range->start;
    int flags = CLINUX_MREMAP_MAYMOVE | CLINUX_MREMAP_FIXED;
    if (clinux_mremap(memory, range->length, range->length, flags, start) != start) {
        clinux_munmap(memory, range->length);
        return -1;
    }
    __atomic_store_n(&range->lost, 1, __ATOMIC_RELEASE);
    return 0;
}

/// Leaves a signal to whoever handled it before: with that handler back in place, a fault comes again at once.
static inline void clinux_pass_on(
    int signal, struct clinux_signal_info *info, const struct clinux_action *former
) {
    clinux_sigaction(signal, former, 0);
    if (info->code <= 0) { clinux_raise(signal); }  // Sent by kill(2): nothing would raise it again.
}

static inline void clinux_on_bus(int signal, struct clinux_signal_info *info, void *context) {
    (void)context;
    int saved = *clinux_errno();
    unsigned long address = info->address;
    // The other codes are memory errors of the hardware.
    struct clinux_range *range = info->code == CLINUX_BUS_ADRERR ? clinux_find_range(address) : 0;
    int answered = range != 0;
    if (range != 0 && clinux_try_token(range)) {
        unsigned long page = clinux_page_size();
        // The pages may have been replaced since the store failed: a flag could be stale, the page itself is not.
        if (clinux_madvise((void *)(address & ~(page - 1)), page, CLINUX_MADV_POPULATE_WRITE) != 0) {
            answered = clinux_use_copy(range) == 0;
        }
        clinux_give_token(range);
    }
    // Without the token: another thread is at it, and the store is tried again.
    if (!answered) { clinux_pass_on(signal, info, &clinux_ranges.bus); }
    *clinux_errno() = saved;
}

/// A store while the range is frozen waits until it is not.
static inline void clinux_on_segv(int signal, struct clinux_signal_info *info, void *context) {
    (void)context;
    int saved = *clinux_errno();
    if (info->code == CLINUX_SEGV_ACCERR && clinux_find_range(info->address) != 0) {
        clinux_sched_yield();
    } else {
        clinux_pass_on(signal, info, &clinux_ranges.segv);
    }
    *clinux_errno() = saved;
}

static inline int clinux_install_handler(
    int signal,
    void (*handler)(int, struct clinux_signal_info *, void *),
    struct clinux_action *former
) {
    struct clinux_action action = {0};
    action.handler = handler;
    // On the alternate stack, where a thread has one: a stack overflow is to reach the former handler, too.
    action.flags = CLINUX_SA_SIGINFO | CLINUX_SA_ONSTACK | CLINUX_SA_RESTART;
    return clinux_sigaction(signal, &action, former);
}

static inline int clinux_install_handlers(struct clinux_range_table *table) {
    if (table->installed) { return 0; }
    if (clinux_install_handler(CLINUX_SIGBUS, clinux_on_bus, &table->bus) != 0) { return -1; }
    if (clinux_install_handler(CLINUX_SIGSEGV, clinux_on_segv, &table->segv) != 0) { return -1; }
    table->installed = 1;
    return 0;
}

/// Registers memory that begins at a page; -1 where there is no room in the table, or no handler to be had.
static inline int clinux_add_range(unsigned long start, unsigned long length) {
    struct clinux_range_table *table = &clinux_ranges;
    while (__atomic_exchange_n(&table->lock, 1, __ATOMIC_ACQUIRE)) { clinux_sched_yield(); }
    int index = CLINUX_MAX_RANGES;
    if (clinux_install_handlers(table) == 0) {
        for (index = 0; index < table->used && table->ranges[index].start != 0;) { index++; }
    }
    if (index < CLINUX_MAX_RANGES) {
        struct clinux_range *range = &table->ranges[index];
        unsigned long page = clinux_page_size();
        range->length = (length + page - 1) & ~(page - 1);
        range->copy = 0;
        range->token = 0;
        range->lost = 0;
        __atomic_store_n(&range->start, start, __ATOMIC_RELEASE);
        if (index == table->used) { __atomic_store_n(&table->used, index + 1, __ATOMIC_RELEASE); }
    } else {
        index = -1;
    }
    __atomic_store_n(&table->lock, 0, __ATOMIC_RELEASE);
    return index;
}

/// Before the memory is unmapped.
static inline void clinux_remove_range(int index) {
    struct clinux_range_table *table = &clinux_ranges;
    while (__atomic_exchange_n(&table->lock, 1, __ATOMIC_ACQUIRE)) { clinux_sched_yield(); }
    __atomic_store_n(&table->ranges[index].start, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&table->lock, 0, __ATOMIC_RELEASE);
}

static inline int clinux_range_is_lost(int index) {
    return __atomic_load_n(&clinux_ranges.ranges[index].lost, __ATOMIC_ACQUIRE);
}

/// The range is private memory now, which cannot be lost.
static inline void clinux_acknowledge_loss(int index) {
    __atomic_store_n(&clinux_ranges.ranges[index].lost, 0, __ATOMIC_RELEASE);
}

/// Sets what the range has after its file was cut; no handler uses the former copy when this returns.
static inline void clinux_set_copy(int index, unsigned long copy) {
    struct clinux_range *range = &clinux_ranges.ranges[index];
    clinux_take_token(range);
    range->copy = copy;
    clinux_give_token(range);
}

/// Treats the file as cut, which it was, although no signal came.
static inline int clinux_discard_file(int index) {
    struct clinux_range *range = &clinux_ranges.ranges[index];
    clinux_take_token(range);
    int result = range->lost ? 0 : clinux_use_copy(range);
    clinux_give_token(range);
    return result;
}

/// Keeps all threads from storing to the range: they wait in the handler. The caller must not store to it either.
///
/// -1, and nothing is frozen, where the program has another handler by now: the stores would end it.
static inline int clinux_freeze(int index) {
    struct clinux_range *range = &clinux_ranges.ranges[index];
    struct clinux_action current;
    if (clinux_sigaction(CLINUX_SIGSEGV, 0, &current) != 0) { return -1; }
    if ((current.flags & CLINUX_SA_SIGINFO) == 0 || current.handler != clinux_on_segv) { return -1; }
    return clinux_mprotect((void *)range->start, range->length, CLINUX_PROT_READ);
}

static inline void clinux_thaw(int index) {
    struct clinux_range *range = &clinux_ranges.ranges[index];
    clinux_mprotect((void *)range->start, range->length, CLINUX_PROT_READ | CLINUX_PROT_WRITE);
}

/// Moves the mapping at `other`, of the same length, to the range's address; -1 when the range was lost meanwhile.
static inline int clinux_move_mapping(int index, unsigned long other) {
    struct clinux_range *range = &clinux_ranges.ranges[index];
    clinux_take_token(range);
    int result = -1;
    if (!__atomic_load_n(&range->lost, __ATOMIC_ACQUIRE)) {
        void *start = (void *)range->start;
        int flags = CLINUX_MREMAP_MAYMOVE | CLINUX_MREMAP_FIXED;
        if (clinux_mremap((void *)other, range->length, range->length, flags, start) == start) { result = 0; }
    }
    clinux_give_token(range);
    return result;
}

/// Faults the pages in for writing, so that a copy to them waits for no disk; it does not matter where that fails.
static inline void clinux_populate(unsigned long start, unsigned long length) {
    unsigned long page = clinux_page_size();
    clinux_madvise((void *)start, (length + page - 1) & ~(page - 1), CLINUX_MADV_POPULATE_WRITE);
}

/// Copies words one by one, each in one piece; pages that are equal are not written to.
static inline void clinux_copy_words(unsigned long to, unsigned long from, unsigned long count) {
    unsigned long *target = (unsigned long *)to;
    unsigned long *source = (unsigned long *)from;
    for (unsigned long index = 0; index < count; index++) {
        unsigned long word = __atomic_load_n(&source[index], __ATOMIC_RELAXED);
        if (__atomic_load_n(&target[index], __ATOMIC_RELAXED) == word) { continue; }
        __atomic_store_n(&target[index], word, __ATOMIC_RELAXED);
    }
}

#endif
