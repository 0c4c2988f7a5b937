#include "doctor_checks.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <fmt/format.h>

#include "alluvium/backbone/device.h"
#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/client.h"
#include "alluvium/service/endpoint.h"
#include "console.h"

namespace alluvium::app {
namespace {

namespace fs = std::filesystem;

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;
constexpr int64_t kProbeMs = 300;

struct ModelFile {
  const char* path;  ///< below the cache folder
  const char* sha256;
};

// The files ./run installs; scripts/pins holds the same digests.
constexpr ModelFile kDecoder = {"models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf",
                                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"};
constexpr ModelFile kEncoder = {"models/all-minilm-l6-v2/model.safetensors",
                                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"};

std::string file_sha256(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Sha256 digest;
  std::vector<char> block(std::size_t{1} << 20);
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    digest.update(block.data(), static_cast<std::size_t>(file.gcount()));
  }
  return to_hex(digest.finish());
}

Check check_model(const char* name, const std::string& configured, const ModelFile& shipped) {
  if (!configured.empty()) {
    return fs::exists(configured)
               ? Check{name, CheckState::good, fmt::format("{} (configured)", configured), ""}
               : Check{name, CheckState::bad, fmt::format("'{}' does not exist", configured),
                       fmt::format("correct models.{} in the configuration", name)};
  }
  const fs::path path = fs::path(service::cache_directory()) / shipped.path;
  const std::string advice = "'./run build' installs it";
  if (!fs::exists(path)) {
    return {name, CheckState::bad, fmt::format("{} is missing", path.string()), advice};
  }
  const std::string digest = file_sha256(path);
  if (digest != shipped.sha256) {
    return {name, CheckState::bad,
            fmt::format("{} has SHA-256 {}, not {}", path.string(), digest, shipped.sha256),
            "delete the folder it lies in; " + advice};
  }
  return {name, CheckState::good,
          fmt::format("{} (SHA-256 {}...)", path.string(), digest.substr(0, 12)), ""};
}

/// The nearest folder that exists: where the instance's directory would be made.
fs::path existing_part(const fs::path& directory) {
  fs::path path = fs::absolute(directory);
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

bool answers(const std::string& endpoint) {
  try {
    service::ClientOptions options;
    options.endpoint = endpoint;
    options.connect_timeout_ms = kProbeMs;
    service::Client(options).connect();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

const char* to_string(CheckState state) {
  switch (state) {
    case CheckState::good:
      return "good";
    case CheckState::warning:
      return "warning";
    case CheckState::bad:
      return "bad";
  }
  return "unknown";
}

Check check_decoder(const service::Configuration& configuration) {
  return check_model("decoder", configuration.models.decoder, kDecoder);
}

Check check_encoder(const service::Configuration& configuration) {
  return check_model("encoder", configuration.models.encoder, kEncoder);
}

Check check_device(const service::Configuration& configuration) {
  try {
    const backbone::DevicePolicy policy = backbone::choose_device(configuration.models.device);
    return {"device", CheckState::good, policy.reason, ""};
  } catch (const Error& error) {
    return {"device", CheckState::bad, error.what(),
            "set models.device and models.dtype to auto, or install what is missing"};
  }
}

Check check_directory(const service::Configuration& configuration) {
  const fs::path path = existing_part(configuration.directory);
  if (!fs::is_directory(path)) {
    return {"directory", CheckState::bad, fmt::format("{} is not a folder", path.string()),
            "choose another with --directory"};
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return {"directory", CheckState::bad, fmt::format("{} cannot be written", path.string()),
            "change its owner or permissions, or choose another with --directory"};
  }
  return {"directory", CheckState::good,
          fmt::format("{} can be written", fs::absolute(configuration.directory).string()), ""};
}

Check check_disk(const service::Configuration& configuration) {
  std::error_code error;
  const fs::space_info space = fs::space(existing_part(configuration.directory), error);
  if (error) {
    return {"disk", CheckState::bad, error.message(), "choose another with --directory"};
  }
  const auto free = static_cast<double>(space.available);
  const std::string finding = fmt::format("{} free", format_bytes(free));
  if (free < kGibibyte) {
    return {"disk", free < kGibibyte / 10 ? CheckState::bad : CheckState::warning, finding,
            "free some: memories take about 20 KiB a token of text"};
  }
  return {"disk", CheckState::good, finding, ""};
}

Check check_ports(const service::Configuration& configuration) {
  try {
    const service::Endpoint probe(configuration.endpoint, configuration.ingest);
    return {"ports", CheckState::good,
            fmt::format("{} and {} are free", configuration.endpoint.port,
                        configuration.endpoint.events_port),
            ""};
  } catch (const Error& error) {
    const std::string endpoint =
        fmt::format("tcp://{}:{}", configuration.endpoint.address, configuration.endpoint.port);
    if (answers(endpoint)) {
      return {"ports", CheckState::good, fmt::format("a service answers at {}", endpoint), ""};
    }
    return {"ports", CheckState::bad, error.what(),
            "stop the other program, or choose other ports (--port, --events-port)"};
  }
}

Check check_store(const service::Configuration& configuration) {
  if (!fs::exists(fs::path(configuration.directory) / "alluvium.db")) {
    return {"store", CheckState::good,
            fmt::format("none yet in {}; 'alluvium serve' makes it", configuration.directory), ""};
  }
  try {
    memory_bank::StoreOptions options;
    options.read_only = true;
    options.basis = service::load_basis(configuration);
    const auto store = memory_bank::Store::open(configuration.directory, options);
    const std::vector<std::string> faults = store->verify();
    if (faults.empty()) {
      const memory_bank::StoreCounts counts = store->counts({});
      return {"store", CheckState::good,
              fmt::format("{} documents, every record whole", counts.documents), ""};
    }
    return {"store", CheckState::bad,
            fmt::format("{} faults, the first: {}", faults.size(), faults.front()),
            "start the service: damaged memories are made again from their texts; a damaged "
            "database must come from a backup"};
  } catch (const Error& error) {
    return {"store", CheckState::bad, error.what(),
            "restore the directory from a backup, or publish into a new one"};
  }
}

}  // namespace alluvium::app
