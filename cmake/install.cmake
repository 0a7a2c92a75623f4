# What `cmake --install` puts where: the command with its manual and completion, libattune (all of it; shared with
# -DBUILD_SHARED_LIBS=ON), libattune_rt (for ahead-of-time kernels), the header, a CMake package, pkg-config files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

set(layers attune_dsl attune_spec attune_tile attune_attention attune_schedule attune_emit attune_compiler
  attune_runtime)
set(objects $<TARGET_OBJECTS:attune_rt>)
foreach(layer ${layers})
  list(APPEND objects $<TARGET_OBJECTS:${layer}>)
endforeach()

set(dependencies OpenSSL::Crypto Threads::Threads ${CMAKE_DL_LIBS} m)
set(private_libs "-lcrypto -lpthread -ldl -lm")
if(ATTUNE_LLVM)
  list(APPEND dependencies LLVM)
  set(private_libs "-L${LLVM_LIBRARY_DIR} -lLLVM ${private_libs}")
endif()

add_library(attune_whole ${objects}) # BUILD_SHARED_LIBS says of which kind
set_target_properties(attune_whole PROPERTIES OUTPUT_NAME attune EXPORT_NAME attune LINKER_LANGUAGE C
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(attune_whole PRIVATE ${dependencies})
set(public_libs "-lattune ${private_libs}")
if(BUILD_SHARED_LIBS)
  set_target_properties(attune_rt ${layers} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_options(attune_whole PRIVATE
    "LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map" "LINKER:--no-undefined")
  set(public_libs "-lattune")
endif()
if(ATTUNE_SANITIZE)
  target_link_options(attune_whole PUBLIC -fsanitize=address,undefined)
endif()

add_library(attune_rt_whole STATIC $<TARGET_OBJECTS:attune_rt>)
set_target_properties(attune_rt_whole PROPERTIES OUTPUT_NAME attune_rt EXPORT_NAME rt LINKER_LANGUAGE C
  ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_link_libraries(attune_rt_whole PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)

set_target_properties(attune_command PROPERTIES EXPORT_NAME command)
set_target_properties(attune_command attune_whole PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON) # where LLVM is
install(TARGETS attune_command attune_whole attune_rt_whole EXPORT attune_targets
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES runtime/attune.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/attune)
install(EXPORT attune_targets NAMESPACE attune:: FILE attune-targets.cmake DESTINATION ${package})
configure_package_config_file(cmake/attune-config.cmake.in ${CMAKE_BINARY_DIR}/attune-config.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/attune-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/attune-config.cmake ${CMAKE_BINARY_DIR}/attune-config-version.cmake
  cmake/AttuneKernels.cmake DESTINATION ${package})

file(RELATIVE_PATH PREFIX_FROM_PKGCONFIG /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
foreach(name attune attune_rt)
  set(LIBS "-lattune_rt -lpthread -ldl -lm")
  if(name STREQUAL attune)
    set(LIBS ${public_libs})
  endif()
  configure_file(cmake/pkg-config.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

# The manual and the completion are printed by the command.
foreach(text manual completion)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/attune.${text}
    COMMAND attune_command --${text} > ${CMAKE_BINARY_DIR}/attune.${text} VERBATIM)
endforeach()
add_custom_target(attune_texts ALL DEPENDS ${CMAKE_BINARY_DIR}/attune.manual ${CMAKE_BINARY_DIR}/attune.completion)
install(FILES ${CMAKE_BINARY_DIR}/attune.manual DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME attune.1)
install(FILES ${CMAKE_BINARY_DIR}/attune.completion RENAME attune
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
