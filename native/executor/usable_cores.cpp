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

int cores_within(double quota) {
  const int cores = cores_by_affinity();
  // Compared as doubles: a quota may be too large for an int.
  return quota > 0 && quota < cores ? static_cast<int>(std::ceil(quota)) : cores;
}

// Quota over period in CPUs, or 0 for no limit; one that cannot be read is no limit.
double quota_at(const std::string& directory) {
  std::string quota;  // "max" or a number
  double value = 0, period = 0;
  std::ifstream v2(directory + "/cpu.max");
  if (v2 >> quota >> period) {
    std::istringstream(quota) >> value;
  } else {
    std::ifstream v1_quota(directory + "/cpu.cfs_quota_us"), v1_period(directory + "/cpu.cfs_period_us");
    if (!(v1_quota >> value && v1_period >> period)) return 0;
  }
  return value > 0 && period > 0 ? value / period : 0;
}

}  // namespace

double cgroup_cpu_quota(const std::string& root) {
  double smallest = 0;
  const auto consider = [&](const std::string& directory) {
    const double quota = quota_at(directory);
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  };
  std::ifstream self(root + "/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    // "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1)
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string mount = root + "/sys/fs/cgroup";
    if (!controllers.empty()) {
      if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
      mount += "/" + controllers;
    }
    std::string path = line.substr(second + 1);
    while (!path.empty() && path != "/") {
      consider(mount + path);
      path = path.substr(0, path.rfind('/'));
    }
    consider(mount);
  }
  return smallest;
}

int usable_cores(const std::string& root) { return cores_within(cgroup_cpu_quota(root)); }

int usable_cores() {
  // Read once: cores are counted for every epoch, and a quota seldom changes while a process runs.
  static const double quota = cgroup_cpu_quota("");
  return cores_within(quota);
}

}  // namespace parmlp
