# attune_add_kernels(TARGET SPECS FILE... [TARGET cpu:x86-64-v3] [DTYPE f32] [SHAPE D=64,E=64]
#                    [NAMES NAME...])
#
# Builds every spec file ahead of time with the command `attune` and gives TARGET a static library of the objects:
# sources that link it include "NAME.h" and call NAME_run. NAME is from NAMES, else the file's. No compiler is linked,
# only attune_rt.
function(attune_add_kernels target)
  cmake_parse_arguments(K "" "TARGET;DTYPE;SHAPE" "SPECS;NAMES" ${ARGN})
  if(NOT K_TARGET)
    set(K_TARGET cpu)
  endif()
  if(NOT K_DTYPE)
    set(K_DTYPE f32)
  endif()
  if(NOT K_SHAPE)
    set(K_SHAPE D=64)
  endif()
  set(directory ${CMAKE_CURRENT_BINARY_DIR}/${target})
  set(objects)
  foreach(spec name IN ZIP_LISTS K_SPECS K_NAMES)
    if(NOT name)
      get_filename_component(name ${spec} NAME_WE)
    endif()
    get_filename_component(path ${spec} ABSOLUTE)
    add_custom_command(OUTPUT ${directory}/${name}.o ${directory}/${name}.h ${directory}/${name}.json
      COMMAND attune::command build ${path} --target=${K_TARGET} --dtype=${K_DTYPE} --shape=${K_SHAPE} --symbol=${name}
              --quiet -o ${directory}
      DEPENDS attune::command ${path} VERBATIM)
    list(APPEND objects ${directory}/${name}.o ${directory}/${name}.h)
  endforeach()
  add_library(${target} STATIC ${objects})
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
  target_include_directories(${target} PUBLIC ${directory})
  target_link_libraries(${target} PUBLIC attune::rt)
endfunction()
