#include "default_prompt.h"

namespace alluvium::service {
namespace {

// The first token is the attention sink: every later token attends to it, so it must be the same
// for all. Three examples of different kinds (person and date, place and number, software and
// version) show the form of an answer: a few words, then a line break.
constexpr const char* kPrefix =
    "<|endoftext|>"
    "Passage: Harbour lighthouse. The lighthouse at Brennick Point was designed by the engineer "
    "Ada Thornwell and first lit on 3 May 1862. It was rebuilt in stone after the great storm of "
    "1901, and its lamp has been electric since 1954.\n"
    "Question: Who designed the lighthouse at Brennick Point?\n"
    "Answer: Ada Thornwell\n\n"
    "Passage: Lake Orrin. Lake Orrin lies in the northern valley of the Velde mountains. It is 14 "
    "kilometres long and 212 metres deep, which makes it the deepest lake of the region. Three "
    "rivers feed it, the largest of which is the Senn.\n"
    "Question: How deep is Lake Orrin?\n"
    "Answer: 212 metres\n\n"
    "Passage: tidegauge 2.4.1. The release tidegauge 2.4.1 repairs a crash that was seen when a "
    "log file was empty. The fault came with version 2.3.0 and was reported by Mikael Strand. "
    "Users "
    "of 2.2 are not affected.\n"
    "Question: Which version of tidegauge fixed the crash on empty log files?\n"
    "Answer: 2.4.1\n\n";

}  // namespace

TemplateConfiguration default_prompt() {
  TemplateConfiguration prompt;
  prompt.prefix = kPrefix;
  return prompt;
}

}  // namespace alluvium::service
