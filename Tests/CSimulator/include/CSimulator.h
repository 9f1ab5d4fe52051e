// What the simulator needs of C: a memory of verified signatures, and what the allocator has given out.
#ifndef CSIMULATOR_H
#define CSIMULATOR_H

// How many verifications were answered from memory in this thread, and how many were computed.
unsigned long simulator_memo_hits(void);
unsigned long simulator_memo_misses(void);

// From now on, in this thread, verifications are remembered (1) or not (0, as at first).
void simulator_memo_use(int yes);

// Nanoseconds of processor time that this thread has used.
long long simulator_processor_time(void);

// Bytes that malloc has given out and not got back.
unsigned long simulator_allocated(void);

#endif
