// One functor an activation: its value f(z), and its derivative from a = f(z) (and z where a does not
// determine it). This is the only place that knows them.

namespace parmlp::PARMLP_TARGET {

struct Identity {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z;
  }
  template <class V>
  PARMLP_INLINE V derivative(V, V) const {
    return V{} + 1;
  }
};

struct Sigmoid {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    V values[1] = {z};
    sigmoid(values);
    return values[0];
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return a * (1 - a);
  }
};

struct Tanh {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return tanh(z);
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return 1 - a * a;
  }
};

struct Relu {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z < 0 ? V{} : z;  // NaN stays
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return a == 0 ? V{} : V{} + 1;  // as scikit-learn: only exact zeros cut the gradient
  }
};

template <class T>
struct LeakyRelu {
  static constexpr bool kNeedsZ = false;
  T slope;  // >= 0, so a has the sign of z
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z < 0 ? z * slope : z;
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return a > 0 ? splat(T(1)) : splat(slope);
  }
};

struct Elu {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z < 0 ? expm1_of_negative(z) : z;
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return a < 0 ? a + 1 : V{} + 1;
  }
};

// z Phi(z), Hendrycks & Gimpel, arXiv:1606.08415.
struct Gelu {
  static constexpr bool kNeedsZ = true;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z * normal_cdf(z);
  }
  template <class V>
  PARMLP_INLINE V derivative(V, V z) const {
    using T = decltype(z[0] + 0);
    const V density = T(0.39894228040143267794) * exp(z * z * T(-0.5));
    return normal_cdf(z) + z * density;
  }
};

// The same paper's approximation, z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
struct GeluTanh {
  static constexpr bool kNeedsZ = true;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    using T = decltype(z[0] + 0);
    const V u = T(0.79788456080286535588) * (z + T(0.044715) * z * z * z);
    return T(0.5) * z * (1 + tanh(u));
  }
  template <class V>
  PARMLP_INLINE V derivative(V, V z) const {
    using T = decltype(z[0] + 0);
    z = at_most(at_least(z, T(-1e4)), T(1e4));  // z^2 must not overflow; the limits are reached long before
    const V u = T(0.79788456080286535588) * (z + T(0.044715) * z * z * z);
    const V du = T(0.79788456080286535588) * (1 + T(3 * 0.044715) * z * z);
    const V t = tanh(u);
    return T(0.5) * (1 + t) + T(0.5) * z * (1 - t * t) * du;
  }
};

// z sigmoid(z), also called swish.
struct Silu {
  static constexpr bool kNeedsZ = true;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return z / (1 + exp(-z));  // sigmoid() itself stops short of 0, and z may be huge
  }
  template <class V>
  PARMLP_INLINE V derivative(V, V z) const {
    const V s = 1 / (1 + exp(-z));
    return s * (1 + z * (1 - s));
  }
};

// The output of poisson regression; never a hidden layer's, and its loss cancels the derivative.
struct Exp {
  static constexpr bool kNeedsZ = false;
  template <class V>
  PARMLP_INLINE V value(V z) const {
    return exp(z);
  }
  template <class V>
  PARMLP_INLINE V derivative(V a, V) const {
    return a;
  }
};

// f(z) of several vectors in place, and how many of them are worth being taken together.
template <class F, class V, int N>
PARMLP_INLINE void values(F f, V (&z)[N]) {
  for (V& value : z) value = f.value(value);
}
template <class V, int N>
PARMLP_INLINE void values(Sigmoid, V (&z)[N]) {
  sigmoid(z);
}
template <class F>
constexpr int kGroup = 1;
template <>
constexpr int kGroup<Sigmoid> = 4;

// Calls visit(functor). Softmax is not element-wise: its layer computes z and softmax() does the rest.
template <class T, class Visit>
PARMLP_INLINE void with_activation(Activation activation, T slope, Visit visit) {
  switch (activation) {
    case Activation::identity:
    case Activation::softmax:
      return visit(Identity{});
    case Activation::sigmoid:
      return visit(Sigmoid{});
    case Activation::tanh:
      return visit(Tanh{});
    case Activation::relu:
      return visit(Relu{});
    case Activation::leaky_relu:
      return visit(LeakyRelu<T>{slope});
    case Activation::elu:
      return visit(Elu{});
    case Activation::gelu:
      return visit(Gelu{});
    case Activation::gelu_tanh:
      return visit(GeluTanh{});
    case Activation::silu:
      return visit(Silu{});
    case Activation::exp:
      return visit(Exp{});
  }
}

}  // namespace parmlp::PARMLP_TARGET
