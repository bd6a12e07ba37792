// The least that publishing can cost: the same operations in C, on shared memory of their own.
//
// A pass makes one operation for each value of the table. Words are given by index.

#ifndef STREAMVAULT_BENCH_FLOOR_H
#define STREAMVAULT_BENCH_FLOOR_H

#include <stddef.h>
#include <stdint.h>

#define FLOOR_MOST_VALUES 16384
#define FLOOR_MOST_BOUNDS 32

// Maps zeroed words of a new file; 0, or -1 with errno set.
int floor_open(const char *path);

// Sets the table of values, and the buckets' bounds but +Inf.
void floor_set(const uint64_t *values, size_t value_count,
               const uint64_t *bounds, size_t bound_count);

void floor_locked_add(size_t word, long passes);
void floor_plain_add(size_t word, long passes);
void floor_store(size_t word, long passes);

// The sum is in `word`, the buckets follow.
void floor_locked_histogram(size_t word, long passes);
void floor_plain_histogram(size_t word, long passes);

#endif
