// A Java compiler that stays warm: sources in, classes out, over stdin and stdout.
//
// Request: int length, UTF-8 source. Answer: int number of classes (-1: errors, then one string), then per
// class its name and bytes. Strings and bytes are an int length and the data. Nothing touches the disk.
import java.io.*;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.tools.*;

class CompileServer {
    static final class Source extends SimpleJavaFileObject {
        final String text;

        Source(String text) {
            super(URI.create("string:///Problem.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override public CharSequence getCharContent(boolean ignore) { return text; }

        @Override public boolean isNameCompatible(String name, Kind kind) { return kind == Kind.SOURCE; }
    }

    static final class Compiled extends SimpleJavaFileObject {
        final String name;
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Compiled(String name) {
            super(URI.create("mem:///" + name.replace('.', '/') + ".class"), Kind.CLASS);
            this.name = name;
        }

        @Override public OutputStream openOutputStream() { return bytes; }
    }

    static final class Memory extends ForwardingJavaFileManager<StandardJavaFileManager> {
        final List<Compiled> made = new ArrayList<>();

        Memory(StandardJavaFileManager manager) { super(manager); }

        @Override public JavaFileObject getJavaFileForOutput(
                Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            Compiled compiled = new Compiled(name);
            made.add(compiled);
            return compiled;
        }
    }

    public static void main(String[] arguments) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        List<String> options = new ArrayList<>(List.of("-proc:none", "-nowarn", "-g:none"));
        options.addAll(List.of(arguments));
        while (true) {
            int length;
            try {
                length = in.readInt();
            } catch (EOFException closed) {
                return;
            }
            String text = new String(in.readNBytes(length), StandardCharsets.UTF_8);
            answer(compiler, files, options, text, out);
            out.flush();
        }
    }

    static void answer(JavaCompiler compiler, StandardJavaFileManager files, List<String> options,
            String text, DataOutputStream out) throws IOException {
        Memory memory = new Memory(files);
        StringWriter log = new StringWriter();
        boolean good;
        try {
            good = compiler.getTask(log, memory, null, options, null, List.of(new Source(text))).call();
        } catch (RuntimeException | StackOverflowError crash) {
            log.append(crash.toString());
            good = false;
        }
        if (!good) {
            out.writeInt(-1);
            write(out, log.toString().getBytes(StandardCharsets.UTF_8));
            return;
        }
        out.writeInt(memory.made.size());
        for (Compiled compiled : memory.made) {
            write(out, compiled.name.getBytes(StandardCharsets.UTF_8));
            write(out, compiled.bytes.toByteArray());
        }
    }

    static void write(DataOutputStream out, byte[] data) throws IOException {
        out.writeInt(data.length);
        out.write(data);
    }
}
