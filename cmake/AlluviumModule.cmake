# alluvium_module(<room> SOURCES ... [MODULES ...] [PUBLIC ...] [PRIVATE ...])
#
# Declares the library alluvium::<room> with include/ public and src/ private. The table below is the architecture: a room may
# name, and its files may include, only the rooms listed for it. A MODULES edge or an #include outside the table stops the configuration.
set(ALLUVIUM_MAY_USE_core)
set(ALLUVIUM_MAY_USE_streams core)
set(ALLUVIUM_MAY_USE_backbone core)
set(ALLUVIUM_MAY_USE_memory_bank core backbone)
set(ALLUVIUM_MAY_USE_selectors core backbone)
set(ALLUVIUM_MAY_USE_learners core backbone)
set(ALLUVIUM_MAY_USE_service core backbone memory_bank selectors learners streams)
set(ALLUVIUM_MAY_USE_experiments core backbone memory_bank selectors learners streams service)
set(ALLUVIUM_MAY_USE_app core backbone memory_bank selectors learners streams service experiments)

# Stops when a file of `room` includes <alluvium/other/...> or "alluvium/other/..." without the table's leave.
function(alluvium_check_includes room)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h ${CMAKE_CURRENT_SOURCE_DIR}/*.cc
       ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  foreach(file IN LISTS files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]alluvium/")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE ".*[<\"]alluvium/([a-z_]+)/.*" "\\1" used "${line}")
      if(NOT used STREQUAL room AND NOT used IN_LIST ALLUVIUM_MAY_USE_${room})
        file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${file})
        message(FATAL_ERROR "${name}: ${room} may not include ${used} (see cmake/AlluviumModule.cmake): ${line}")
      endif()
    endforeach()
  endforeach()
endfunction()

function(alluvium_module room)
  cmake_parse_arguments(ARG "" "" "SOURCES;MODULES;PUBLIC;PRIVATE" ${ARGN})
  foreach(used IN LISTS ARG_MODULES)
    if(NOT used IN_LIST ALLUVIUM_MAY_USE_${room})
      message(FATAL_ERROR "${room} may not depend on ${used}: cmake/AlluviumModule.cmake holds the table")
    endif()
  endforeach()
  alluvium_check_includes(${room})
  add_library(alluvium_${room} STATIC ${ARG_SOURCES})
  add_library(alluvium::${room} ALIAS alluvium_${room})
  target_include_directories(alluvium_${room} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/include
                                              PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  list(TRANSFORM ARG_MODULES PREPEND alluvium::)
  target_link_libraries(alluvium_${room} PUBLIC ${ARG_MODULES} ${ARG_PUBLIC}
                                         PRIVATE ${ARG_PRIVATE} alluvium_warnings)
endfunction()
