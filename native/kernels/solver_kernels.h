// One functor a solver: what it does to a vector of weights, given their gradient.

namespace parmlp::PARMLP_TARGET {

template <class T>
struct Sgd {
  static constexpr int kMoments = 0;
  static PARMLP_INLINE Vec<T> update(const SolverStep<T>& s, Vec<T> w, Vec<T> g, Vec<T>&, Vec<T>&, bool) {
    return w - s.learning_rate * g;
  }
};

// v = momentum v - lr g; w += v, or with Nesterov's momentum w += momentum v - lr g (new v), as scikit-learn.
template <class T, bool kNesterov>
struct SgdMomentum {
  static constexpr int kMoments = 1;
  static PARMLP_INLINE Vec<T> update(const SolverStep<T>& s, Vec<T> w, Vec<T> g, Vec<T>& v, Vec<T>&, bool) {
    const Vec<T> step = s.learning_rate * g;
    v = s.momentum * v - step;
    return w + (kNesterov ? s.momentum * v - step : v);
  }
};

// Kingma & Ba, arXiv:1412.6980, with epsilon outside the bias correction as scikit-learn places it. adamw
// (Loshchilov & Hutter, arXiv:1711.05101) first scales weights, not biases, by 1 - lr * weight_decay.
template <class T, bool kDecay>
struct Adam {
  static constexpr int kMoments = 2;
  static PARMLP_INLINE Vec<T> update(const SolverStep<T>& s, Vec<T> w, Vec<T> g, Vec<T>& m, Vec<T>& v,
                                     bool is_bias) {
    m = s.beta_1 * m + s.one_minus_beta_1 * g;
    v = s.beta_2 * v + s.one_minus_beta_2 * (g * g);
    if (kDecay && !is_bias) w = w * s.decay;
    return w - s.learning_rate * m / (sqrt(v) + s.epsilon);
  }
};

template <class T, class Visit>
PARMLP_INLINE void with_solver(const SolverStep<T>& s, Visit visit) {
  switch (s.solver) {
    case Solver::sgd:
      if (!s.has_momentum) return visit(Sgd<T>{});
      if (s.nesterov) return visit(SgdMomentum<T, true>{});
      return visit(SgdMomentum<T, false>{});
    case Solver::adam:
      return visit(Adam<T, false>{});
    case Solver::adamw:
      return visit(Adam<T, true>{});
  }
}

}  // namespace parmlp::PARMLP_TARGET
