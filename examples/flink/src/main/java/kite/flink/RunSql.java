package kite.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs Flink SQL scripts, one after the other, in a Flink inside this process.
 *
 * <p>A statement ends with a semicolon at the end of a line; a line that begins with two dashes is a
 * comment. {@code SET 'key' = 'value';} sets an option of the statements behind it. An INSERT is
 * waited for: it ends when its sources do, so never for an unbounded table. Where it fails, the cause
 * of all is printed and the exit code is 1.
 */
public final class RunSql {
    private static final Pattern SET = Pattern.compile("SET\\s+'([^']*)'\\s*=\\s*'([^']*)'\\s*");

    private RunSql() {}

    public static void main(String[] args) throws IOException, InterruptedException {
        if (args.length == 0) {
            System.err.println("usage: RunSql script.sql...");
            System.exit(2);
        }
        Configuration configuration = new Configuration();
        configuration.setString("execution.target", "local");
        configuration.setString("parallelism.default", "2");
        configuration.setString("table.local-time-zone", "UTC");
        TableEnvironment tables =
                TableEnvironment.create(
                        EnvironmentSettings.newInstance()
                                .inStreamingMode()
                                .withConfiguration(configuration)
                                .build());
        for (String name : args) {
            for (String statement : statements(Files.readAllLines(Path.of(name)))) {
                Matcher option = SET.matcher(statement);
                if (option.matches()) {
                    tables.getConfig().set(option.group(1), option.group(2));
                } else {
                    JobClient job = tables.executeSql(statement).getJobClient().orElse(null);
                    if (job != null) {
                        waitFor(job);
                    }
                }
            }
        }
    }

    // not the option table.dml-sync: of a job that fails it tells only that the cluster has ended
    private static void waitFor(JobClient job) throws InterruptedException {
        try {
            job.getJobExecutionResult().get();
        } catch (ExecutionException error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            System.err.println("the job has failed: " + cause);
            System.exit(1);
        }
    }

    static List<String> statements(List<String> lines) {
        List<String> statements = new ArrayList<>();
        StringBuilder statement = new StringBuilder();
        for (String line : lines) {
            String text = line.strip();
            if (text.isEmpty() || text.startsWith("--")) {
                continue;
            }
            boolean last = text.endsWith(";");
            statement.append(last ? text.substring(0, text.length() - 1) : text).append('\n');
            if (last) {
                statements.add(statement.toString());
                statement.setLength(0);
            }
        }
        if (!statement.isEmpty()) {
            throw new IllegalArgumentException("no semicolon ends: " + statement);
        }
        return statements;
    }
}
