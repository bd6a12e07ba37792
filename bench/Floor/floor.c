#include "floor.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum { word_count = 4096 };

static _Atomic uint64_t *words;
static uint64_t values[FLOOR_MOST_VALUES];
static size_t value_count;
// The bounds as a binary search tree: the children of node n are 2n and 2n + 1.
static uint64_t tree[FLOOR_MOST_BOUNDS * 2];
// Nodes from here on are leaves, one for each bucket.
static size_t leaves;

int floor_open(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return -1;
    if (ftruncate(file, word_count * 8) < 0) return -1;
    void *mapped = mmap(NULL, word_count * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) return -1;
    words = mapped;
    return close(file);
}

void floor_set(const uint64_t *some, size_t some_count,
               const uint64_t *bounds, size_t bound_count) {
    value_count = some_count < FLOOR_MOST_VALUES ? some_count : FLOOR_MOST_VALUES;
    for (size_t i = 0; i < value_count; i++) values[i] = some[i];
    if (bound_count > FLOOR_MOST_BOUNDS) bound_count = FLOOR_MOST_BOUNDS;
    leaves = 1;
    while (leaves <= bound_count) leaves *= 2;
    for (size_t node = 1, level = leaves; node < leaves; node++) {
        if ((node & (node - 1)) == 0) level /= 2;
        size_t rank = level * (node * 2 + 1) - leaves;
        tree[node] = rank <= bound_count ? bounds[rank - 1] : UINT64_MAX;
    }
}

static inline void locked_add(_Atomic uint64_t *word, uint64_t amount) {
    atomic_fetch_add_explicit(word, amount, memory_order_relaxed);
}

static inline void plain_add(_Atomic uint64_t *word, uint64_t amount) {
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, value + amount, memory_order_relaxed);
}

static inline size_t bucket(uint64_t value) {
    size_t node = 1;
    while (node < leaves) node = node * 2 + (tree[node] < value);
    return node - leaves;
}

void floor_locked_add(size_t word, long passes) {
    for (long pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < value_count; i++) locked_add(&words[word], 1);
}

void floor_plain_add(size_t word, long passes) {
    for (long pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < value_count; i++) plain_add(&words[word], 1);
}

void floor_store(size_t word, long passes) {
    for (long pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < value_count; i++)
            atomic_store_explicit(&words[word], values[i], memory_order_relaxed);
}

void floor_locked_histogram(size_t word, long passes) {
    for (long pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < value_count; i++) {
            locked_add(&words[word + 1 + bucket(values[i])], 1);
            locked_add(&words[word], values[i]);
        }
}

void floor_plain_histogram(size_t word, long passes) {
    for (long pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < value_count; i++) {
            plain_add(&words[word + 1 + bucket(values[i])], 1);
            plain_add(&words[word], values[i]);
        }
}
