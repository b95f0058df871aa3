#include "executor/executor.h"

namespace parmlp {
namespace {

class SerialExecutor final : public Executor {
 public:
  const char* name() const override { return "serial"; }
  int run(TeamFunction function, void* context, int) override {
    function(context, 0, 1);
    return 1;
  }
};

}  // namespace

std::unique_ptr<Executor> make_serial_executor() { return std::make_unique<SerialExecutor>(); }

}  // namespace parmlp
