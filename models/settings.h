// Options and configuration attributes by name, as `caracal run --set` and reference files give them.
#pragma once

#include <string>

#include <caracal/models/modeling_utils.h>

namespace caracal {

/// Sets the option of from_pretrained, or of a forward call, that transformers gives this name; false when it has none
/// of this name. Throws invalid_argument for a value of the wrong type.
bool set_option(LoadOptions& options, const std::string& name, const Json& value);
bool set_option(ForwardOptions& options, const std::string& name, const Json& value);

}  // namespace caracal
