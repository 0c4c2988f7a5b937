# Third-party libraries as imported targets. Debian packages come through their own config files or pkg-config; LibTorch and
# hnswlib come from the cache that ./run fills, because torch's own find_package demands a CUDA toolkit even for a CPU build.
if(NOT ALLUVIUM_CACHE)
  if(DEFINED ENV{ALLUVIUM_CACHE})
    set(ALLUVIUM_CACHE $ENV{ALLUVIUM_CACHE})
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(ALLUVIUM_CACHE $ENV{XDG_CACHE_HOME}/alluvium)
  else()
    set(ALLUVIUM_CACHE $ENV{HOME}/.cache/alluvium)
  endif()
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(ZeroMQ REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(Utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(Zstd REQUIRED IMPORTED_TARGET libzstd)

# The static library: compressing with a state that is reset in place is not in the shared one.
find_library(ALLUVIUM_LZ4 NAMES liblz4.a REQUIRED)
add_library(lz4 INTERFACE)
target_link_libraries(lz4 INTERFACE ${ALLUVIUM_LZ4})
add_library(alluvium::lz4 ALIAS lz4)

# Headers only; the rooms without torch use them too.
if(NOT EXISTS ${ALLUVIUM_CACHE}/hnswlib-0.8.0/include)
  message(FATAL_ERROR "hnswlib 0.8.0 is not in ${ALLUVIUM_CACHE}; './run build' installs it")
endif()
add_library(hnswlib INTERFACE)
target_include_directories(hnswlib SYSTEM INTERFACE ${ALLUVIUM_CACHE}/hnswlib-0.8.0/include)
add_library(alluvium::hnswlib ALIAS hnswlib)

# CUDA is for one library of kernels, liballuvium_cuda.so, loaded at run time where there is a GPU.
if(ALLUVIUM_WITH_TORCH AND NOT ALLUVIUM_CUDA STREQUAL "OFF")
  find_program(ALLUVIUM_NVCC nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda/bin)
  if(ALLUVIUM_NVCC)
    set(CMAKE_CUDA_COMPILER ${ALLUVIUM_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
    enable_language(CUDA)
    set(ALLUVIUM_HAS_CUDA TRUE)
    message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION}: building liballuvium_cuda.so for sm_80 and sm_90")
  elseif(ALLUVIUM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ALLUVIUM_CUDA is ON, and there is no nvcc (install a CUDA toolkit, or leave it at AUTO)")
  endif()
endif()

if(ALLUVIUM_WITH_TORCH)
  set(ALLUVIUM_TORCH_ROOT ${ALLUVIUM_CACHE}/libtorch-2.11.0)
  if(NOT EXISTS ${ALLUVIUM_TORCH_ROOT}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "LibTorch 2.11.0 is not in ${ALLUVIUM_CACHE}; './run build' installs it")
  endif()
  add_library(torch_cpu INTERFACE)
  # -idirafter: torch ships a newer fmt that must not hide Debian's.
  target_compile_options(torch_cpu INTERFACE
    "SHELL:-idirafter ${ALLUVIUM_TORCH_ROOT}/include"
    "SHELL:-idirafter ${ALLUVIUM_TORCH_ROOT}/include/torch/csrc/api/include")
  target_compile_definitions(torch_cpu INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  target_link_libraries(torch_cpu INTERFACE
    ${ALLUVIUM_TORCH_ROOT}/lib/libtorch_cpu.so ${ALLUVIUM_TORCH_ROOT}/lib/libc10.so
    ${ALLUVIUM_TORCH_ROOT}/lib/libgomp.so.1)
  target_link_options(torch_cpu INTERFACE -Wl,-rpath,${ALLUVIUM_TORCH_ROOT}/lib
    -Wl,-rpath-link,${ALLUVIUM_TORCH_ROOT}/lib)
  add_library(alluvium::torch_cpu ALIAS torch_cpu)
  # at::parallel_for is a template: without this it runs its body in one piece on the thread that calls it, and says nothing.
  set(ALLUVIUM_PARALLEL_FOR $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
endif()
