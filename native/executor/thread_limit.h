// A limit on the workers of teams for which nobody names a number.
#pragma once

extern "C" {
// Limits teams made by the calling thread; 0 for no limit. The extension module exports this function, by
// whose name threadpoolctl recognizes it (src/parmlp/threadpool.py).
__attribute__((visibility("default"))) void parmlp_set_thread_limit(int threads);
}

namespace parmlp {

// The calling thread's limit.
int thread_limit();

}  // namespace parmlp
