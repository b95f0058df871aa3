// One epoch: a step for each minibatch of the rows, in the order given.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "executor/worker_choice.h"
#include "network/network.h"
#include "step/minibatch_step.h"
#include "train/step_profile.h"
#include "train/team.h"

namespace parmlp {

struct EpochSettings {
  index_t batch_size = 1;
  double learning_rate = 0;
  Schedule schedule = Schedule::two_phase;
  bool fork_join = false;  // partial_gradients with threads created and joined for every minibatch
  // two_phase only: let fewer workers than the team has run a step where that is measured to be faster.
  bool adaptive_workers = true;
  StepProfile* profile = nullptr;  // to add the times of this epoch's steps to
};

struct EpochResult {
  double loss = 0;                  // mean over rows of their minibatch's loss, as scikit-learn
  std::vector<std::int64_t> tiles;  // run by each worker
  int workers = 0;                  // the team's real size
  double seconds = 0;
  bool stopped = false;  // poll() asked; the last minibatch may be applied in part
};

// A network with the buffers of its step, which stay from epoch to epoch while their sizes fit.
template <class T>
struct Trainer {
  Trainer(NetworkDescription description, const Kernels<T>& kernels, const Bf16Kernels<T>* bf16 = nullptr)
      : network(std::move(description), kernels, bf16) {}

  Network<T> network;
  std::unique_ptr<MinibatchStep<T>> step;
  std::optional<WorkerChoice> worker_choice;  // of this step
};

// Trains on rows order[0..rows). Throws what a worker threw, and std::invalid_argument for a profile of
// another step.
template <class T>
EpochResult train_epoch(Trainer<T>& trainer, Team& team, const Samples<T>& samples, const index_t* order,
                        index_t rows, const EpochSettings& settings, const std::function<bool()>& poll);

// The input of a prediction: dense and C-contiguous, or sparse when `dense` is null.
template <class T>
struct Rows {
  const T* dense = nullptr;
  SparseRows<T> sparse;
};

// Output activations (rows, outputs) of x (rows, features), C-contiguous. Returns false if stopped.
template <class T>
bool predict(Network<T>& network, Team& team, const Rows<T>& x, index_t rows, T* out,
             const std::function<bool()>& poll);

}  // namespace parmlp
