// The verbs of the program.
//
// Purpose: each add_… declares a verb's options; when the verb is chosen it runs and leaves its
//          exit code: 0 done, 1 failed, 2 usage.
// Threads: owned by the main thread.
#pragma once

#include <CLI/App.hpp>

namespace alluvium::app {

void add_serve(CLI::App& program, int& exit_code);
void add_publish(CLI::App& program, int& exit_code);
void add_ask(CLI::App& program, int& exit_code);
void add_documents(CLI::App& program, int& exit_code);
void add_readers(CLI::App& program, int& exit_code);
void add_status(CLI::App& program, int& exit_code);
void add_memories(CLI::App& program, int& exit_code);
void add_select(CLI::App& program, int& exit_code);
void add_doctor(CLI::App& program, int& exit_code);
void add_train(CLI::App& program, int& exit_code);
void add_calibrate(CLI::App& program, int& exit_code);
void add_bench(CLI::App& program, int& exit_code);
void add_version(CLI::App& program, int& exit_code);

}  // namespace alluvium::app
