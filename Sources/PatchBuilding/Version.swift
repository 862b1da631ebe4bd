/// Stands in every bundle: another version may make other bytes of the same inputs.
package let patchbuildVersion = "0.1.0"
