#include "executor/thread_limit.h"

namespace parmlp {
namespace {

thread_local int limit = 0;

}  // namespace

int thread_limit() { return limit; }

}  // namespace parmlp

void parmlp_set_thread_limit(int threads) { parmlp::limit = threads; }
