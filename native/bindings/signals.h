// Hearing Python's signals, Ctrl-C above all, while native code runs without the interpreter's lock.
#pragma once

#include <nanobind/nanobind.h>

#include <functional>

namespace parmlp {

// Asks Python whether a signal came in; called without the GIL, on the thread that trains.
inline bool signal_came() {
  const nanobind::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

// Python handles signals on its main thread alone; elsewhere waiting for the GIL would be for nothing.
inline std::function<bool()> signal_poll() {
  const nanobind::object threading = nanobind::module_::import_("threading");
  const bool main = threading.attr("get_ident")().equal(threading.attr("main_thread")().attr("ident"));
  return main ? std::function<bool()>(signal_came) : nullptr;
}

}  // namespace parmlp
