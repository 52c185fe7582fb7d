// `trireme search RUN "text"`: search in the index of a run by texts, pictures and items, added and
// subtracted (ALIGN's image ± text queries), without a service: model and index are loaded for this one call.
// Prints rank, score, key and caption, and writes a contact sheet; with --batch one JSON line per query.
// Lives here and not in worker/search because it needs models and shards.
#pragma once

namespace trireme::worker::stages::index {

// argv[0] is the tool's name, the options follow. Returns 0; throws Error (kUsage, kNotFound, kInvalid …).
int run_search(int argc, char** argv);

}  // namespace trireme::worker::stages::index
