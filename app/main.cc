// The program: one verb, one exit code.
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

std::string known_verbs(const CLI::App& program) {
  std::string names;
  for (const CLI::App* verb : program.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + verb->get_name();
  }
  return names;
}

int run(int argc, char** argv) {
  CLI::App program("A streaming service that keeps a frozen language model up to date.",
                   "alluvium");
  program.require_subcommand(1);
  program.footer("Every verb has its own --help. Exit codes: 0 done, 1 failed, 2 usage.");
  int exit_code = 0;
  add_serve(program, exit_code);
  add_publish(program, exit_code);
  add_ask(program, exit_code);
  add_documents(program, exit_code);
  add_readers(program, exit_code);
  add_status(program, exit_code);
  add_memories(program, exit_code);
  add_select(program, exit_code);
  add_doctor(program, exit_code);
  add_train(program, exit_code);
  add_calibrate(program, exit_code);
  add_bench(program, exit_code);
  add_version(program, exit_code);
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return program.exit(help);
  } catch (const CLI::ParseError& error) {
    if (program.get_subcommands().empty() && argc > 1 && argv[1][0] != '-') {
      fmt::print(stderr, "unknown verb '{}'; known: {}\n", argv[1], known_verbs(program));
      return kUsage;
    }
    program.exit(error);
    return kUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace alluvium::app

int main(int argc, char** argv) {
  try {
    return alluvium::app::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "alluvium: {}\n", error.what());
    return alluvium::app::kFailed;
  }
}
