// The shipped prompt: what a frozen decoder reads before every document and question.
//
// Threads: immutable.
#pragma once

#include "alluvium/service/configuration.h"

namespace alluvium::service {

/// Worked examples, document and question forms and the stop rule.
TemplateConfiguration default_prompt();

}  // namespace alluvium::service
