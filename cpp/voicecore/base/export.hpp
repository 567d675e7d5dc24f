// Symbols that both extension modules must share live in libvoicecore_base.so and carry this mark.
#pragma once

#define VOICECORE_EXPORT __attribute__((visibility("default")))
