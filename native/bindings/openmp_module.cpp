// The extension module parmlp._openmp: one function that runs a team function on OpenMP threads. It is a
// module of its own so that importing parmlp never loads libgomp, and holds no kernels.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <omp.h>

#include "executor/executor.h"

namespace {

int run_team(parmlp::TeamFunction function, void* context, int workers) {
  int size = 0;
#pragma omp parallel num_threads(workers)
  {
    const int worker = omp_get_thread_num();
    if (worker == 0) size = omp_get_num_threads();
    function(context, worker, omp_get_num_threads());
  }
  return size;
}

PyObject* team_function(PyObject*, PyObject*) {
  return PyCapsule_New(reinterpret_cast<void*>(&run_team), "parmlp.team_function", nullptr);
}

PyMethodDef methods[] = {
    {"team_function", team_function, METH_NOARGS,
     "A capsule with int run_team(function, context, workers), for parmlp._core.Team."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "parmlp._openmp", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__openmp(void) { return PyModule_Create(&module); }
