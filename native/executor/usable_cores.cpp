#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "executor/executor.h"

namespace parmlp {
namespace {

int cores_by_affinity() {
  // The kernel's mask may be wider than a cpu_set_t on machines with more than 1024 CPUs.
  for (int cpus = 1024; cpus <= 1 << 18; cpus *= 2) {
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (!set) break;
    const bool ok = sched_getaffinity(0, size, set) == 0;
    const int count = ok ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (ok && count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Quota over period in CPUs, or 0 for no limit.
double quota_at(const std::string& directory) {
  std::ifstream v2(directory + "/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period) return quota == "max" ? 0 : std::stod(quota) / period;
  std::ifstream v1_quota(directory + "/cpu.cfs_quota_us"), v1_period(directory + "/cpu.cfs_period_us");
  double value = 0;
  if (v1_quota >> value && v1_period >> period && value > 0 && period > 0) return value / period;
  return 0;
}

// The smallest quota on the way from this process's cgroup up to the root, or 0.
double cgroup_quota() {
  double smallest = 0;
  const auto consider = [&](const std::string& directory) {
    const double quota = quota_at(directory);
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  };
  std::ifstream self("/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string root = "/sys/fs/cgroup";
    if (!controllers.empty()) {
      if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
      root += "/" + controllers;
    }
    std::string path = line.substr(second + 1);
    while (!path.empty() && path != "/") {
      consider(root + path);
      path = path.substr(0, path.rfind('/'));
    }
    consider(root);
  }
  return smallest;
}

}  // namespace

int usable_cores() {
  const int cores = cores_by_affinity();
  static const double quota = [] {
    try {
      return cgroup_quota();
    } catch (const std::exception&) {  // an unreadable limit is no limit
      return 0.0;
    }
  }();
  return quota > 0 ? std::clamp(static_cast<int>(std::ceil(quota)), 1, cores) : cores;
}

}  // namespace parmlp
