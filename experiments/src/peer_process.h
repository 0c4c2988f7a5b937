// A program of others that a bench measures beside ours: a script in the environment that `./run peers` makes.
#pragma once

#include <string>
#include <vector>

namespace alluvium::experiments {

/// What `script` prints when it is given `arguments`. Throws InvalidArgument that begins with `option`, the bench's option that asked for it,
/// when the peers are not installed, there is no such script, or it fails.
std::string run_peer(const std::string& option, const std::string& script,
                     const std::vector<std::string>& arguments);

}  // namespace alluvium::experiments
