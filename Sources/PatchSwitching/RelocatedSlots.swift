import ElfFormat
import ProcessControl
import ProcessImage

/// Words of memory, and what they hold that is no call's return address.
typealias InitialWords = [UInt64: UInt64]

/// What the dynamic linker has put into the data of a program and its libraries.
///
/// A table of functions may hold the address at which one of them begins, and another that calls something without return
/// ends. That is an address to which a call might return (trap noreturn-end), and the table is no stack: a slot that holds
/// what its relocation put there holds no return address (trap relocated-slot).
struct RelocatedSlots {
    let process: LoadedProcess

    /// - Returns: those of the places whose words are what their relocations put there, with the words.
    func initialWords(at places: [UInt64]) -> InitialWords {
        var words: InitialWords = [:]
        for object in process.objects {
            let own = Set(places.filter { object.contains($0) }.map { $0 &- object.bias })
            // A table that can't be read explains nothing.
            guard !own.isEmpty, let tables = try? process.view.tables(of: object) else { continue }
            for relocation in tables.relocations where own.contains(relocation.offset) {
                let place = object.bias &+ relocation.offset
                guard let word = word(at: place), put(word, by: relocation, of: object, tables) else { continue }
                words[place] = word
            }
        }
        return words
    }

    private func word(at place: UInt64) -> UInt64? { try? process.view.read(place, 8).u64(0) }

    private func put(
        _ word: UInt64, by relocation: DynamicRelocation, of object: LoadedObject, _ tables: DynamicTables
    ) -> Bool {
        let addend = UInt64(bitPattern: relocation.addend)
        if relocation.type == .relative { return word == object.bias &+ addend }
        guard relocation.type.isFilledSlot || relocation.type == .abs64, relocation.symbol < tables.symbols.count,
            let name = try? tables.name(of: tables.symbols[relocation.symbol])
        else { return false }
        // Whichever object's definition it was: only one that is just this word could have been.
        return process.objects.contains { other in
            guard other.contains(word), let tables = try? process.view.tables(of: other),
                let index = try? tables.lookup(name, version: nil)
            else { return false }
            return word == other.bias &+ tables.symbols[index].value &+ addend
        }
    }
}
