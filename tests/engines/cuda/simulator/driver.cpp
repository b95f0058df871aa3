// A CUDA driver that has no GPU: the functions of libcuda.so that parmlp calls, over fibers.
//
// Kernels are the package's own sources, compiled by g++ behind cuda_shim.h; an "image" is the path of the
// shared library. A block's threads (a cluster's, where there is one) are fibers that run one at a time, in
// random order, from one barrier to the next: code that relies on an order which no barrier gives computes
// something else in nearly every run. In half of the runs any fiber may be next; in the other half warps have
// random priorities, so that one runs as far ahead of the others as barriers let it. Streams are queues that
// are emptied only when someone waits, in random turns, so that a missing wait shows as well. What the
// hardware refuses is refused here with the same code. Fresh memory, device and shared, is full of NaN; an
// allocation ends at a page that must not be touched.

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "cuda_shim.h"
#include "driver_api.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace {

// ---------------------------------------------------------------------------------------------- fibers

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kMaxShared = 227 << 10, kDefaultShared = 48 << 10;
constexpr unsigned kPortableCluster = 8, kMaxCluster = 16;

std::mt19937 random_source;
std::string last_error;

size_t random_below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_source); }

struct Fiber;

struct Barrier {
  size_t expected = 0;
  std::vector<Fiber*> waiting;
};

struct Warp {
  Barrier barrier;
  unsigned priority = 0;
  // two, so that a fast lane's next exchange leaves alone what slow lanes still read
  std::vector<unsigned char> exchanged[2];
};

struct Block {
  unsigned char* shared_end = nullptr;  // a page that must not be touched follows
  unsigned char* shared = nullptr;
  size_t running = 0;  // threads that have not returned
  Barrier barrier;
  std::vector<Warp> warps;
};

struct PendingCopy {
  void* to;
  const void* from;
  size_t bytes, source_bytes;
};

struct Fiber : SimulatedThread {
  void* stack_pointer = nullptr;
  Block* own_block = nullptr;
  Warp* warp = nullptr;
  unsigned exchanges = 0;
  std::vector<PendingCopy> uncommitted;
  std::deque<std::vector<PendingCopy>> groups;
};

struct Kernel {
  void (*entry)(void**);
  size_t (*parameter)(size_t);
  std::string name;
  size_t max_shared = kDefaultShared;
  bool wide_clusters = false;
};

struct Launch {
  Kernel* kernel;
  uint3 grid, block;
  unsigned cluster;
  size_t shared;
  std::vector<std::vector<unsigned char>> args;
};

void* scheduler_pointer;
std::vector<Fiber*> ready;
std::vector<Block> blocks;  // of the cluster that runs
Barrier cluster_barrier;
void (*running_entry)(void**);
void** running_args;
size_t finished;
sigjmp_buf fault_jump;
volatile sig_atomic_t may_fault;

#if defined(__x86_64__)
// Saves the callee-saved registers on the stack, and goes on where the other stack left off.
extern "C" void switch_stacks(void** save, void* load);
asm(R"(
.text
.globl switch_stacks
switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

void* fresh_stack(unsigned char* stack, void (*start)()) {
  void** top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // where start() would return to; it never does
  *--top = reinterpret_cast<void*>(start);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}
#else
void switch_stacks(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(load));
}

void* fresh_stack(unsigned char* stack, void (*start)()) {
  auto* context = reinterpret_cast<ucontext_t*>(stack);
  getcontext(context);
  context->uc_stack.ss_sp = stack + sizeof(ucontext_t);
  context->uc_stack.ss_size = kStackBytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, start, 0);
  return context;
}
#endif

void suspend() {
  auto* self = static_cast<Fiber*>(simulated_thread);
  switch_stacks(&self->stack_pointer, scheduler_pointer);
}

void arrive_and_wait(Barrier& barrier) {
  barrier.waiting.push_back(static_cast<Fiber*>(simulated_thread));
  if (barrier.waiting.size() == barrier.expected) {
    ready.insert(ready.end(), barrier.waiting.begin(), barrier.waiting.end());
    barrier.waiting.clear();
  }
  suspend();
}

void fiber_main() {
  running_entry(running_args);
  ++finished;
  Block& block = *static_cast<Fiber*>(simulated_thread)->own_block;
  // a block that has ended has no shared memory that others of its cluster could read
  if (--block.running == 0)
    std::memset(block.shared, 0xFF, static_cast<size_t>(block.shared_end - block.shared));
  for (;;) suspend();
}

unsigned char* stacks() {
  static unsigned char* const all = static_cast<unsigned char*>(
      mmap(nullptr, kStackBytes * kMaxThreads * kMaxCluster, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return all;
}

// At least `bytes` of fresh memory, as its end, which meets a page that must not be touched.
unsigned char* map_guarded(size_t bytes, size_t* mapped = nullptr) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t body = (bytes + page - 1) / page * page;
  auto* mapping = static_cast<unsigned char*>(
      mmap(nullptr, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(mapping + body, page, PROT_NONE);
  if (mapped) *mapped = body + page;
  return mapping + body;
}

// Runs the blocks of one cluster, or a single block. Returns false, with last_error set, where it cannot end.
bool run_cluster(const Launch& launch, unsigned first_block) {
  static std::vector<Fiber> fibers;
  const unsigned threads = launch.block.x;
  fibers.assign(static_cast<size_t>(threads) * launch.cluster, Fiber{});
  ready.clear();
  cluster_barrier = Barrier{fibers.size(), {}};
  for (unsigned rank = 0; rank < launch.cluster; ++rank) {
    Block& block = blocks[rank];
    block.shared = block.shared_end - (launch.shared + 15) / 16 * 16;
    std::memset(block.shared, 0xFF, static_cast<size_t>(block.shared_end - block.shared));
    block.running = threads;
    block.barrier = Barrier{threads, {}};
    block.warps.assign(threads / 32, Warp{});
    for (auto& warp : block.warps) {
      warp.barrier.expected = 32;
      warp.priority = static_cast<unsigned>(random_source());
    }
    const unsigned index = first_block + rank;
    for (unsigned t = 0; t < threads; ++t) {
      Fiber& fiber = fibers[rank * threads + t];
      fiber.thread = {t, 0, 0};
      fiber.block = {index % launch.grid.x, index / launch.grid.x % launch.grid.y,
                     index / launch.grid.x / launch.grid.y};
      fiber.block_dim = launch.block;
      fiber.grid_dim = launch.grid;
      fiber.cluster_rank = rank;
      fiber.cluster_size = launch.cluster;
      fiber.own_block = &block;
      fiber.warp = &block.warps[t / 32];
      fiber.stack_pointer = fresh_stack(stacks() + kStackBytes * (rank * threads + t), fiber_main);
      ready.push_back(&fiber);
    }
  }
  finished = 0;
  const bool by_warp = random_below(2) == 0;
  while (!ready.empty()) {
    size_t chosen = random_below(ready.size());
    if (by_warp) {
      for (size_t i = 0; i < ready.size(); ++i) {
        if (ready[i]->warp->priority > ready[chosen]->warp->priority) chosen = i;
      }
    }
    Fiber* fiber = ready[chosen];
    ready[chosen] = ready.back();
    ready.pop_back();
    simulated_thread = fiber;
    switch_stacks(&scheduler_pointer, fiber->stack_pointer);
  }
  if (finished == fibers.size()) return true;
  last_error = launch.kernel->name + ": " + std::to_string(fibers.size() - finished) + " of " +
               std::to_string(fibers.size()) + " threads wait at a barrier that the others do not reach";
  return false;
}

void on_fault(int signal, siginfo_t*, void*) {
  if (may_fault) siglongjmp(fault_jump, 1);
  ::signal(signal, SIG_DFL);
}

CUresult run_launch(const Launch& launch) {
  std::vector<void*> args;
  for (const auto& arg : launch.args) args.push_back(const_cast<unsigned char*>(arg.data()));
  running_entry = launch.kernel->entry;
  running_args = args.data();
  while (blocks.size() < launch.cluster) {
    blocks.emplace_back();
    blocks.back().shared_end = map_guarded(kMaxShared);
  }
  static std::vector<unsigned char> signal_stack(64 << 10);
  stack_t alternate{}, previous{};
  alternate.ss_sp = signal_stack.data();
  alternate.ss_size = signal_stack.size();
  sigaltstack(&alternate, &previous);
  struct sigaction action{}, before{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &before);

  const unsigned count = launch.grid.x * launch.grid.y * launch.grid.z;
  static std::vector<unsigned> order;  // static: a siglongjmp keeps what is not a local
  order.clear();
  for (unsigned b = 0; b < count; b += launch.cluster) order.push_back(b);
  std::shuffle(order.begin(), order.end(), random_source);
  static CUresult result;
  result = CUDA_SUCCESS;
  may_fault = 1;
  if (sigsetjmp(fault_jump, 1) == 0) {
    for (size_t i = 0; i < order.size() && result == CUDA_SUCCESS; ++i) {
      if (!run_cluster(launch, order[i])) result = CUDA_ERROR_LAUNCH_FAILED;
    }
  } else {
    last_error = launch.kernel->name + ": a thread touched memory outside every allocation";
    result = CUDA_ERROR_ILLEGAL_ADDRESS;
  }
  may_fault = 0;
  sigaction(SIGSEGV, &before, nullptr);
  sigaltstack(&previous, nullptr);
  return result;
}

// --------------------------------------------------------------------------------------------- streams

struct Stream;

struct Event {
  Stream* recorded_in = nullptr;
  uint64_t ticket = 0;  // done when the stream has run this many operations
};

struct Operation {
  std::function<CUresult()> run;
  uint64_t wait_ticket = 0;
  Stream* wait_stream = nullptr;
};

struct Stream {
  std::deque<Operation> queue;
  uint64_t queued = 0, done = 0;
  bool capturing = false;
  std::shared_ptr<std::vector<Operation>> captured;
};

using Graph = std::shared_ptr<std::vector<Operation>>;

std::vector<Stream*> streams;
CUresult sticky = CUDA_SUCCESS;  // after a fault every call fails, as on a device
size_t memory_bytes = size_t{1} << 30, memory_used = 0;
std::map<uintptr_t, std::pair<unsigned char*, size_t>> allocations;  // address -> mapping
std::map<uintptr_t, size_t> allocation_sizes;
std::map<uintptr_t, size_t> pinned;
SimulatorCounters counters;

// A stream by its handle: 0 and 1 are the legacy default stream and 2 is the thread's, as cuda.h has them.
Stream* stream_of(CUstream handle) {
  static Stream* defaults[2] = {};
  const auto number = reinterpret_cast<uintptr_t>(handle);
  if (number > 2) return reinterpret_cast<Stream*>(handle);
  Stream*& stream = defaults[number / 2];
  if (!stream) streams.push_back(stream = new Stream);
  return stream;
}

bool runnable(const Stream& stream) {
  if (stream.queue.empty()) return false;
  const Operation& next = stream.queue.front();
  return !next.wait_stream || next.wait_stream->done >= next.wait_ticket;
}

// Runs streams in random turns until `stream` has run `ticket` operations.
CUresult wait_for(Stream* stream, uint64_t ticket) {
  while (sticky == CUDA_SUCCESS && stream->done < ticket) {
    std::vector<Stream*> candidates;
    for (Stream* s : streams) {
      if (runnable(*s)) candidates.push_back(s);
    }
    if (candidates.empty()) {
      last_error = "streams wait for each other";
      return sticky = CUDA_ERROR_LAUNCH_FAILED;
    }
    Stream* chosen = candidates[random_below(candidates.size())];
    const Operation operation = std::move(chosen->queue.front());
    chosen->queue.pop_front();
    if (operation.run) sticky = operation.run();
    ++chosen->done;
  }
  return sticky;
}

CUresult enqueue(CUstream handle, Operation operation) {
  auto* stream = stream_of(handle);
  if (sticky != CUDA_SUCCESS) return sticky;
  if (stream->capturing) {
    stream->captured->push_back(std::move(operation));
  } else {
    stream->queue.push_back(std::move(operation));
    ++stream->queued;
  }
  return CUDA_SUCCESS;
}

bool contains(const std::map<uintptr_t, size_t>& ranges, const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto range = ranges.upper_bound(address);
  if (range == ranges.begin()) return false;
  --range;
  return address + bytes <= range->first + range->second;
}

bool on_device(CUdeviceptr pointer, size_t bytes) {
  return contains(allocation_sizes, reinterpret_cast<const void*>(pointer), bytes);
}

CUresult drain() {
  for (Stream* stream : streams) {
    if (const CUresult result = wait_for(stream, stream->queued); result != CUDA_SUCCESS) return result;
  }
  return sticky;
}

}  // namespace

// ------------------------------------------------------------------------------- what kernels call (shim)

SimulatedThread* simulated_thread = nullptr;

void simulated_syncthreads() {
  Barrier& barrier = static_cast<Fiber*>(simulated_thread)->own_block->barrier;
  counters.block_barriers += barrier.waiting.size() + 1 == barrier.expected;
  arrive_and_wait(barrier);
}
void simulated_syncwarp() { arrive_and_wait(static_cast<Fiber*>(simulated_thread)->warp->barrier); }
void simulated_cluster_sync() {
  counters.cluster_barriers += cluster_barrier.waiting.size() + 1 == cluster_barrier.expected;
  arrive_and_wait(cluster_barrier);
}

const void* simulated_exchange(const void* mine, size_t bytes) {
  auto* self = static_cast<Fiber*>(simulated_thread);
  auto& slots = self->warp->exchanged[self->exchanges++ % 2];
  if (slots.size() < 32 * bytes) slots.resize(32 * bytes);
  std::memcpy(slots.data() + self->thread.x % 32 * bytes, mine, bytes);
  simulated_syncwarp();
  return slots.data();
}

void* simulated_shared(unsigned cluster_rank) { return blocks[cluster_rank].shared; }

namespace {
void copy_now(const PendingCopy& copy) {
  std::memset(copy.to, 0, copy.bytes);
  std::memcpy(copy.to, copy.from, copy.source_bytes);
}
}  // namespace

void simulated_copy_async(void* to, const void* from, size_t bytes, size_t source_bytes) {
  const PendingCopy copy{to, from, bytes, source_bytes};
  counters.async_bytes += source_bytes;
  if (random_below(2) == 0) return copy_now(copy);
  static_cast<Fiber*>(simulated_thread)->uncommitted.push_back(copy);
}

void simulated_commit() {
  auto* self = static_cast<Fiber*>(simulated_thread);
  self->groups.push_back(std::move(self->uncommitted));
  self->uncommitted.clear();
}

void simulated_wait(unsigned groups_left) {
  auto* self = static_cast<Fiber*>(simulated_thread);
  for (; self->groups.size() > groups_left; self->groups.pop_front()) {
    for (const PendingCopy& copy : self->groups.front()) copy_now(copy);
  }
}

// ------------------------------------------------------------------------- loads and stores, where counted

// GCC's -fsanitize=thread calls a function before each access to memory. Compiled so, and without the
// sanitizer's own library, a kernel calls these.
namespace {
void count_access(const void* pointer, size_t bytes, bool store) {
  const auto* const address = static_cast<const unsigned char*>(pointer);
  const Block* const own = static_cast<Fiber*>(simulated_thread)->own_block;
  for (const Block& block : blocks) {
    if (address >= block.shared_end - kMaxShared && address < block.shared_end) {
      if (!store) (&block == own ? counters.shared_bytes : counters.remote_bytes) += bytes;
      return;
    }
  }
  if (contains(allocation_sizes, pointer, bytes)) {
    (store ? counters.stored_bytes : counters.loaded_bytes) += bytes;
  }
}
}  // namespace

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* at, size_t bytes) { count_access(at, bytes, false); }
void __tsan_write_range(void* at, size_t bytes) { count_access(at, bytes, true); }
#define COUNTED_ACCESS(bytes)                                                     \
  void __tsan_read##bytes(void* at) { count_access(at, bytes, false); }           \
  void __tsan_write##bytes(void* at) { count_access(at, bytes, true); }           \
  void __tsan_unaligned_read##bytes(void* at) { count_access(at, bytes, false); } \
  void __tsan_unaligned_write##bytes(void* at) { count_access(at, bytes, true); }
COUNTED_ACCESS(1)
COUNTED_ACCESS(2)
COUNTED_ACCESS(4)
COUNTED_ACCESS(8)
COUNTED_ACCESS(16)
#undef COUNTED_ACCESS
}

// ------------------------------------------------------------------------------------ control, for tests

void simulator_reset(unsigned seed, size_t bytes) {
  random_source.seed(seed);
  memory_bytes = bytes;
  counters = SimulatorCounters{};
  sticky = CUDA_SUCCESS;
  last_error.clear();
  for (Stream* stream : streams) {
    stream->queue.clear();
    stream->queued = stream->done;
  }
}

const char* simulator_error() { return last_error.c_str(); }
void simulator_counters(SimulatorCounters* out) {
  *out = counters;
  out->memory_used = memory_used;
}

// ------------------------------------------------------------------------------------------- driver API

// As a real driver, this one may be called from several threads: what one call does is done before the next.
namespace {
std::recursive_mutex one_call;
using OneCall = std::lock_guard<std::recursive_mutex>;
}  // namespace

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
  return *device = 0, CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char* name, int length, CUdevice) {
  std::snprintf(name, static_cast<size_t>(length), "simulated device");
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { return *bytes = memory_bytes, CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (static_cast<int>(attribute)) {
    case 16:  // multiprocessor count
      return *value = 4, CUDA_SUCCESS;
    case 75:  // compute capability
      return *value = 9, CUDA_SUCCESS;
    case 76:
      return *value = 0, CUDA_SUCCESS;
    case 97:  // shared memory of a block, opted in to
      return *value = static_cast<int>(kMaxShared), CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  static int the_context;
  return *context = reinterpret_cast<CUcontext>(&the_context), CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }

CUresult cuGetErrorName(CUresult error, const char** name) {
  static const std::map<int, const char*> names{
      {0, "CUDA_SUCCESS"},           {1, "CUDA_ERROR_INVALID_VALUE"},     {2, "CUDA_ERROR_OUT_OF_MEMORY"},
      {500, "CUDA_ERROR_NOT_FOUND"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"}};
  const auto found = names.find(static_cast<int>(error));
  if (found == names.end()) return CUDA_ERROR_INVALID_VALUE;
  return *name = found->second, CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult, const char** text) { return *text = last_error.c_str(), CUDA_SUCCESS; }

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  const OneCall call(one_call);
  *total = memory_bytes;
  *free = memory_bytes - std::min(memory_bytes, memory_used);
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  const OneCall call(one_call);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (memory_used + bytes > memory_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  size_t mapped = 0;
  unsigned char* const end = map_guarded(bytes, &mapped);
  // 16-byte alignment is all that kernels may rely on, and lets the end meet the forbidden page
  unsigned char* const begin = end - (bytes + 15) / 16 * 16;
  std::memset(begin, 0xFF, static_cast<size_t>(end - begin));
  const auto address = reinterpret_cast<uintptr_t>(begin);
  allocations[address] = {end + sysconf(_SC_PAGESIZE) - mapped, mapped};
  allocation_sizes[address] = bytes;
  memory_used += bytes;
  return *pointer = address, CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  const OneCall call(one_call);
  drain();
  const auto found = allocations.find(pointer);
  if (found == allocations.end()) return CUDA_ERROR_INVALID_VALUE;
  munmap(found->second.first, found->second.second);
  memory_used -= allocation_sizes[pointer];
  allocation_sizes.erase(pointer);
  allocations.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  const OneCall call(one_call);
  *pointer = std::malloc(bytes);
  pinned[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* pointer) {
  const OneCall call(one_call);
  drain();
  if (pinned.erase(reinterpret_cast<uintptr_t>(pointer)) == 0) return CUDA_ERROR_INVALID_VALUE;
  std::free(pointer);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  const OneCall call(one_call);
  if (!on_device(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
  counters.bytes_to_device += bytes;
  if (contains(pinned, from, bytes)) {
    return enqueue(stream, {.run = [=] {
                     std::memcpy(reinterpret_cast<void*>(to), from, bytes);
                     return CUDA_SUCCESS;
                   }});
  }
  // pageable memory may be written again as soon as the call returns
  const auto* bytes_from = static_cast<const unsigned char*>(from);
  auto staged = std::make_shared<std::vector<unsigned char>>(bytes_from, bytes_from + bytes);
  return enqueue(stream, {.run = [=] {
                   std::memcpy(reinterpret_cast<void*>(to), staged->data(), bytes);
                   return CUDA_SUCCESS;
                 }});
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const OneCall call(one_call);
  if (!on_device(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  counters.bytes_to_host += bytes;
  const CUresult result = enqueue(stream, {.run = [=] {
                                    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
                                    return CUDA_SUCCESS;
                                  }});
  if (result != CUDA_SUCCESS || contains(pinned, to, bytes)) return result;
  return cuStreamSynchronize(stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const OneCall call(one_call);
  if (!on_device(to, bytes) || !on_device(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  counters.bytes_on_device += bytes;
  return enqueue(stream, {.run = [=] {
                   std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
                   return CUDA_SUCCESS;
                 }});
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  const OneCall call(one_call);
  if (!on_device(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, {.run = [=] {
                   std::memset(reinterpret_cast<void*>(to), value, bytes);
                   return CUDA_SUCCESS;
                 }});
}

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const OneCall call(one_call);
  if (attribute != CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL || !on_device(pointer, 1)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return *static_cast<int*>(data) = 0, CUDA_SUCCESS;
}

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned, int) {
  const OneCall call(one_call);
  streams.push_back(new Stream);
  return *stream = reinterpret_cast<CUstream>(streams.back()), CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle) {
  const OneCall call(one_call);
  auto* stream = stream_of(handle);
  if (stream->capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return wait_for(stream, stream->queued);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent handle, unsigned) {
  const OneCall call(one_call);
  auto* event = reinterpret_cast<Event*>(handle);
  if (!event->recorded_in) return CUDA_SUCCESS;
  return enqueue(stream, {.run = {}, .wait_ticket = event->ticket, .wait_stream = event->recorded_in});
}

CUresult cuEventCreate(CUevent* event, unsigned) {
  return *event = reinterpret_cast<CUevent>(new Event), CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  delete reinterpret_cast<Event*>(event);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
  const OneCall call(one_call);
  auto* event = reinterpret_cast<Event*>(handle);
  auto* stream = stream_of(stream_handle);
  if (stream->capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;  // the device can, parmlp does not
  event->recorded_in = stream;
  event->ticket = stream->queued;
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent handle) {
  const OneCall call(one_call);
  auto* event = reinterpret_cast<Event*>(handle);
  return event->recorded_in ? wait_for(event->recorded_in, event->ticket) : CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  const OneCall call(one_call);
  void* library = dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    last_error = dlerror();
    return CUDA_ERROR_INVALID_IMAGE;
  }
  return *module = reinterpret_cast<CUmodule>(library), CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  const OneCall call(one_call);
  drain();
  dlclose(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  void* entry = dlsym(module, (std::string("simulated_entry_") + name).c_str());
  void* parameter = dlsym(module, (std::string("simulated_parameter_") + name).c_str());
  if (!entry || !parameter) return CUDA_ERROR_NOT_FOUND;
  auto* kernel = new Kernel{reinterpret_cast<void (*)(void**)>(entry),
                            reinterpret_cast<size_t (*)(size_t)>(parameter), name};
  return *function = reinterpret_cast<CUfunction>(kernel), CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  auto* kernel = reinterpret_cast<Kernel*>(function);
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value < 0 || static_cast<size_t>(value) > kMaxShared) return CUDA_ERROR_INVALID_VALUE;
    kernel->max_shared = static_cast<size_t>(value);
  } else if (attribute == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) {
    kernel->wide_clusters = value != 0;
  } else {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*) {
  return *clusters = 3, CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** params, void** extra) {
  const OneCall call(one_call);
  auto* kernel = reinterpret_cast<Kernel*>(function);
  Launch launch{kernel,
                {config->gridDimX, config->gridDimY, config->gridDimZ},
                {config->blockDimX, config->blockDimY, config->blockDimZ},
                1,
                config->sharedMemBytes,
                {}};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return CUDA_ERROR_INVALID_VALUE;
    if (config->attrs[i].value.clusterDim.y != 1 || config->attrs[i].value.clusterDim.z != 1) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    launch.cluster = config->attrs[i].value.clusterDim.x;
  }
  const unsigned widest = kernel->wide_clusters ? kMaxCluster : kPortableCluster;
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  // one-dimensional blocks of whole warps are all that parmlp's kernels use
  if (extra || threads == 0 || threads > kMaxThreads || launch.block.x != threads || threads % 32 != 0 ||
      launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.y > 65535 || launch.grid.z != 1 ||
      launch.shared > kernel->max_shared || launch.cluster == 0 || launch.cluster > widest ||
      launch.grid.x % launch.cluster != 0) {
    last_error = kernel->name + ": no device accepts this launch configuration";
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (size_t i = 0; const size_t bytes = kernel->parameter(i); ++i) {
    const auto* value = static_cast<const unsigned char*>(params[i]);
    launch.args.emplace_back(value, value + bytes);
  }
  ++counters.launches;
  return enqueue(config->hStream, {.run = [launch = std::move(launch)] {
                   ++counters.kernels_run;
                   return run_launch(launch);
                 }});
}

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode) {
  const OneCall call(one_call);
  auto* stream = stream_of(handle);
  if (stream->capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  stream->capturing = true;
  stream->captured = std::make_shared<std::vector<Operation>>();
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  const OneCall call(one_call);
  auto* stream = stream_of(handle);
  if (!stream->capturing) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capturing = false;
  return *graph = reinterpret_cast<CUgraph>(new Graph(std::move(stream->captured))), CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  return *exec = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph))), CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  delete reinterpret_cast<Graph*>(graph);
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  const OneCall call(one_call);
  drain();
  delete reinterpret_cast<Graph*>(exec);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  const OneCall call(one_call);
  ++counters.graph_launches;
  const Graph graph = *reinterpret_cast<Graph*>(exec);
  return enqueue(stream, {.run = [graph] {
                   for (const Operation& operation : *graph) {
                     if (const CUresult result = operation.run(); result != CUDA_SUCCESS) return result;
                   }
                   return CUDA_SUCCESS;
                 }});
}
